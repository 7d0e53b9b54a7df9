//! State bytes on their way, beside whatever else the worker does.

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};

use crate::fault::EngineError;
use crate::frame::MAX_STATE;
use crate::message::{Event, Request, RequestId};

/// A wish about state bytes. One after the other.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) request: Request,
    pub(crate) path: Path,
    pub(crate) reply: oneshot::Sender<Result<Event, EngineError>>,
}

/// Which way bytes go, and whose they are.
#[derive(Debug)]
pub(crate) enum Path {
    /// No bytes move.
    None,
    /// From the worker into this channel; nobody reading means that they are thrown away.
    Out { bytes: u64, sink: mpsc::Sender<Vec<u8>> },
    /// From this channel to the worker, in frames of at most [`MAX_STATE`]. A channel that closes before
    /// all bytes came gives up.
    In { bytes: u64, source: mpsc::Receiver<Vec<u8>> },
}

impl Move {
    pub(crate) fn is_unwanted(&self) -> bool {
        self.reply.is_closed()
    }

    pub(crate) fn fail(self, error: EngineError) {
        // The caller may have stopped waiting.
        let _ = self.reply.send(Err(error));
    }
}

/// A wish that the worker is working on.
pub(crate) struct Moving {
    pub(crate) id: RequestId,
    path: Path,
    /// The worker's last word, while bytes are still in the pipe.
    said: Option<Event>,
    reply: oneshot::Sender<Result<Event, EngineError>>,
    /// When bytes last moved.
    pub(crate) last_sign: Instant,
}

/// What moved.
pub(crate) enum Step {
    /// Bytes arrived here, or left.
    Moved(u64),
    /// The caller sends no more.
    GaveUp,
}

impl Moving {
    pub(crate) fn new(id: RequestId, path: Path, reply: oneshot::Sender<Result<Event, EngineError>>) -> Self {
        Self { id, path, said: None, reply, last_sign: Instant::now() }
    }

    /// Moves one frame. Safe to drop at any time: a frame is taken only when there is room for it.
    pub(crate) async fn step(
        &mut self,
        state_in: &mpsc::Sender<Vec<u8>>,
        state_out: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Step {
        match &mut self.path {
            Path::Out { bytes: 1.., sink } => {
                let room = sink.reserve().await;
                let Some(frame) = state_out.recv().await else {
                    // The worker is gone; the control path tells.
                    return std::future::pending().await;
                };
                let bytes = frame.len() as u64;
                if let Ok(room) = room {
                    room.send(frame);
                }
                Step::Moved(bytes)
            }
            Path::In { bytes: 1.., source } => {
                let Ok(room) = state_in.reserve().await else {
                    return std::future::pending().await;
                };
                let frame = source.recv().await.filter(|frame| frame.len() <= MAX_STATE);
                let step = frame.as_ref().map_or(Step::GaveUp, |frame| Step::Moved(frame.len() as u64));
                // An empty one tells the worker that no more will come.
                room.send(frame.unwrap_or_default());
                step
            }
            _ => std::future::pending().await,
        }
    }

    /// Counts what moved.
    pub(crate) fn moved(&mut self, step: &Step) {
        self.last_sign = Instant::now();
        if let Path::Out { bytes, .. } | Path::In { bytes, .. } = &mut self.path {
            *bytes = match step {
                Step::Moved(moved) => bytes.saturating_sub(*moved),
                Step::GaveUp => 0,
            };
        }
    }

    /// Keeps the worker's last word.
    pub(crate) fn heard(&mut self, event: Event) {
        if let (Path::Out { bytes, .. }, Event::Failed(_)) = (&mut self.path, &event) {
            // Nothing was sent, or nothing more will be.
            *bytes = 0;
        }
        self.said = Some(event);
    }

    /// Whether the last word and the last byte are here.
    pub(crate) fn is_done(&self) -> bool {
        let still = matches!(self.path, Path::Out { bytes: 1.., .. });
        self.said.is_some() && !still
    }

    pub(crate) fn finish(self) {
        if let Some(event) = self.said {
            let result = match event {
                Event::Failed(fault) => Err(fault.into()),
                event => Ok(event),
            };
            // The caller may have stopped waiting.
            let _ = self.reply.send(result);
        }
    }

    pub(crate) fn fail(self, error: EngineError) {
        let _ = self.reply.send(Err(error));
    }

    /// Whether the worker waits for somebody here.
    fn is_ours(&self) -> bool {
        match &self.path {
            Path::Out { bytes: 1.., sink } => sink.capacity() == 0,
            Path::In { bytes: 1.., source } => source.is_empty() && !source.is_closed(),
            _ => false,
        }
    }

    /// Time in which the worker waits is not held against it.
    pub(crate) fn excuse(&mut self) {
        if self.is_ours() {
            self.last_sign = Instant::now();
        }
    }

    /// When silence means that the worker hangs, unless it is excused until then.
    pub(crate) fn deadline(&self, patience: Duration) -> Instant {
        self.last_sign + patience
    }
}
