//! The only way to ask for inference.

use tokio::sync::{mpsc, oneshot, watch};

use crate::fault::{Death, EngineError};
use crate::frame::MAX_STATE;
use crate::limits::Limits;
use crate::link::Spawner;
use crate::message::{Event, Finished, GenerateSpec, Hello, LoadSpec, ModelInfo, Prepared, Request, TokenId};
use crate::moving::{Move, Path};
use crate::qualify::{Qualified, QualifySpec};
use crate::state::{Exported, ImageId, Pieces, PromptTokens, RestoreSpec, Restored};
use crate::supervisor::{Inbox, Supervisor};
use crate::work::{Quick, Stop, Work};

/// Which way state bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Worker to app, as after an export.
    FromWorker,
    /// App to worker, as before an import.
    ToWorker,
}

/// Frames of state that may wait on their way through the app.
const FRAMES: usize = 8;

/// What an answer in progress reports, in this order: `Prepared`, `Prefill`*, `Piece`*, `Ended`.
#[derive(Debug, Clone)]
pub enum GenerationEvent {
    /// The prompt is tokenised and decoding begins.
    Prepared(Prepared),
    /// Progress through the prompt.
    Prefill {
        /// Of [`Prepared::to_decode`].
        done: u32,
    },
    /// Text, and the tokens sampled since the last piece.
    Piece {
        /// Complete characters; may be empty.
        text: String,
        /// In the order sampled.
        tokens: Vec<TokenId>,
    },
    /// Nothing follows.
    Ended(Result<Finished, EngineError>),
}

/// A model that is loaded, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// As asked for.
    pub spec: LoadSpec,
    /// As found.
    pub info: ModelInfo,
}

/// The engine at a glance; watch it for changes.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The running worker.
    pub worker: Option<Hello>,
    /// The loaded model.
    pub loaded: Option<Loaded>,
    /// Workers lost since the start, those included that never became ready.
    pub deaths: u64,
    /// How the last one was lost.
    pub last_death: Option<Death>,
}

/// Asks one supervised worker for inference. Cheap to clone; when the last clone is dropped the worker
/// is shut down.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    stop: mpsc::Sender<Stop>,
    quick: mpsc::Sender<Quick>,
    work: mpsc::Sender<Work>,
    moves: mpsc::Sender<Move>,
    status: watch::Receiver<Status>,
}

impl EngineHandle {
    /// Starts the supervision; the worker itself starts with the first request. Needs a tokio runtime.
    #[must_use]
    pub fn start(spawner: impl Spawner, limits: Limits) -> Self {
        let (stop, stop_rx) = mpsc::channel(1);
        let (quick, quick_rx) = mpsc::channel(16);
        let (work, work_rx) = mpsc::channel(16);
        let (moves, moves_rx) = mpsc::channel(16);
        let (status_tx, status) = watch::channel(Status::default());
        let inbox = Inbox { stop: stop_rx, quick: quick_rx, work: work_rx, moves: moves_rx };
        tokio::spawn(Supervisor::new(Box::new(spawner), limits, inbox, status_tx).run());
        Self { stop, quick, work, moves, status }
    }

    /// The engine's present state, to read or to watch.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What the worker said of itself; starts it if need be.
    pub async fn hello(&self) -> Result<Hello, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.quick.send(Quick::Hello(reply)).await.map_err(|_| EngineError::Closed)?;
        answer.await.map_err(|_| EngineError::Closed)?
    }

    /// One round trip on the control path, answered also in mid-decode. A worker that does not answer
    /// within [`Limits::ping`] is taken for dead.
    pub async fn ping(&self) -> Result<(), EngineError> {
        let (reply, answer) = oneshot::channel();
        self.quick.send(Quick::Ping(reply)).await.map_err(|_| EngineError::Closed)?;
        answer.await.map_err(|_| EngineError::Closed)?
    }

    /// Loads a model in place of the present one. Progress goes to `progress` (0 to 1); the load ends
    /// soon with [`crate::Fault::Cancelled`] once `cancel` holds `true` or this future is dropped.
    pub async fn load(
        &self,
        spec: LoadSpec,
        progress: mpsc::Sender<f32>,
        cancel: watch::Receiver<bool>,
    ) -> Result<ModelInfo, EngineError> {
        let (reply, answer) = oneshot::channel();
        let work = Work::Load { spec, progress, cancel, reply };
        self.work.send(work).await.map_err(|_| EngineError::Closed)?;
        answer.await.map_err(|_| EngineError::Closed)?
    }

    /// Frees the model.
    pub async fn unload(&self) -> Result<(), EngineError> {
        let (reply, answer) = oneshot::channel();
        self.work.send(Work::Unload(reply)).await.map_err(|_| EngineError::Closed)?;
        answer.await.map_err(|_| EngineError::Closed)?
    }

    /// Starts an answer. It ends soon with [`crate::message::StopReason::Cancelled`] once `cancel`
    /// holds `true`; dropping the [`Generation`] ends it too. Read it or drop it: while it is held and
    /// not read, the worker waits, and so do later requests.
    pub async fn generate(
        &self,
        spec: GenerateSpec,
        cancel: watch::Receiver<bool>,
    ) -> Result<Generation, EngineError> {
        let (events, receiver) = mpsc::channel(64);
        let work = Work::Generate { spec, events, cancel };
        self.work.send(work).await.map_err(|_| EngineError::Closed)?;
        Ok(Generation { events: receiver })
    }

    async fn ask(&self, request: Request) -> Result<Event, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.work.send(Work::Ask { request, reply }).await.map_err(|_| EngineError::Closed)?;
        answer.await.map_err(|_| EngineError::Closed)?
    }

    /// Renders and tokenises a conversation, and says how much of it is live. Computes nothing.
    pub async fn prepare(&self, spec: GenerateSpec) -> Result<PromptTokens, EngineError> {
        match self.ask(Request::Prepare(spec)).await? {
            Event::Prompt(prompt) => Ok(prompt),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Tokens of a text by the loaded model's own tokeniser.
    pub async fn count_tokens(&self, text: String) -> Result<u32, EngineError> {
        match self.ask(Request::Count { text }).await? {
            Event::Counted { tokens } => Ok(tokens),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Takes the live context's state into an image that stays with the worker. Where [`Exported::overwritten`] is
    /// `None` the context goes on as if nothing had happened; elsewhere it is on trial, to be followed by
    /// [`Self::accept`] or [`Self::discard`]. Waits its turn behind answers.
    pub async fn export(&self) -> Result<Exported, EngineError> {
        match self.ask(Request::Export).await? {
            Event::Exported(exported) => Ok(*exported),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Puts the image that was sent with [`Self::receive`] in place of the live context, on trial: to be
    /// followed by [`Self::accept`] or [`Self::discard`].
    pub async fn restore(&self, spec: RestoreSpec) -> Result<Restored, EngineError> {
        match self.ask(Request::Restore(spec)).await? {
            Event::Restored(restored) => Ok(restored),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Has the state on trial used.
    pub async fn accept(&self) -> Result<(), EngineError> {
        match self.ask(Request::Accept).await? {
            Event::Accepted => Ok(()),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Has the context destroyed, and all that it holds; an image that arrived and was not restored is
    /// forgotten.
    pub async fn discard(&self) -> Result<(), EngineError> {
        match self.ask(Request::Discard).await? {
            Event::Discarded => Ok(()),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Finds out whether states of the loaded model survive. Takes as long as reading a few hundred tokens; ends
    /// soon once this future is dropped, and costs nothing that is live.
    pub async fn qualify(&self, spec: QualifySpec) -> Result<Qualified, EngineError> {
        match self.ask(Request::Qualify(spec)).await? {
            Event::Qualified(qualified) => Ok(qualified),
            other => Err(out_of_turn(&other)),
        }
    }

    async fn move_with(&self, request: Request, path: Path) -> Result<Event, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.moves.send(Move { request, path, reply }).await.map_err(|_| EngineError::Closed)?;
        answer.await.map_err(|_| EngineError::Closed)?
    }

    /// BLAKE3 (hex) of chunks of an image. Served beside answers.
    pub async fn hash(&self, image: ImageId, chunks: Vec<Pieces>) -> Result<Vec<String>, EngineError> {
        let wanted = chunks.len();
        match self.move_with(Request::Hash { image, chunks }, Path::None).await? {
            Event::Hashed { hashes } if hashes.len() == wanted => Ok(hashes),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Sends the bytes of chunks into `sink`, one chunk behind the other, in frames that know nothing of
    /// chunks. Served beside answers. Where nobody reads `sink` any more the rest is thrown away.
    pub async fn ship(
        &self,
        image: ImageId,
        chunks: Vec<Pieces>,
        sink: mpsc::Sender<Vec<u8>>,
    ) -> Result<(), EngineError> {
        let bytes = chunks.iter().map(Pieces::bytes).sum();
        match self.move_with(Request::Ship { image, chunks }, Path::Out { bytes, sink }).await? {
            Event::StateSent => Ok(()),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Has the worker receive an image of `bytes` bytes, made of these chunks. Their bytes are read from
    /// `source` in order, in frames of at most [`crate::frame::MAX_STATE`]; a source that ends early gives
    /// the image up. Served beside answers; nothing is used before [`Self::restore`].
    pub async fn receive(
        &self,
        bytes: u64,
        chunks: Vec<Pieces>,
        source: mpsc::Receiver<Vec<u8>>,
    ) -> Result<(), EngineError> {
        let moved = chunks.iter().map(Pieces::bytes).sum();
        let path = Path::In { bytes: moved, source };
        match self.move_with(Request::Receive { bytes, chunks }, path).await? {
            Event::StateReceived => Ok(()),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Has an image forgotten.
    pub async fn release(&self, image: ImageId) -> Result<(), EngineError> {
        self.move_with(Request::Release { image }, Path::None).await.map(drop)
    }

    /// Moves `bytes` of no meaning over the state path, to measure it.
    pub async fn move_state(&self, bytes: u64, direction: Direction) -> Result<(), EngineError> {
        match direction {
            Direction::FromWorker => {
                let (sink, mut frames) = mpsc::channel(FRAMES);
                let drained = tokio::spawn(async move { while frames.recv().await.is_some() {} });
                let moved = self.move_with(Request::SendState { bytes }, Path::Out { bytes, sink }).await;
                // Ends with the sink.
                let _ = drained.await;
                moved.map(drop)
            }
            Direction::ToWorker => {
                let (frames, source) = mpsc::channel(FRAMES);
                tokio::spawn(async move {
                    let mut left = bytes;
                    while left > 0 {
                        let size = usize::try_from(left).unwrap_or(MAX_STATE).min(MAX_STATE);
                        if frames.send(vec![0; size]).await.is_err() {
                            break;
                        }
                        left -= size as u64;
                    }
                });
                self.move_with(Request::ReceiveState { bytes }, Path::In { bytes, source }).await.map(drop)
            }
        }
    }

    /// Ends the worker in order, by force if it takes longer than [`Limits::shutdown`]. Requests in
    /// progress and later calls give [`EngineError::Closed`].
    pub async fn shutdown(&self) {
        let (reply, answer) = oneshot::channel();
        if self.stop.send(Stop(Some(reply))).await.is_ok() {
            // An error means that it was already going down.
            let _ = answer.await;
        }
    }
}

/// The supervisor hands on only the answer that belongs to a question.
fn out_of_turn(event: &Event) -> EngineError {
    tracing::error!(last = event.is_last(), "an answer to another question");
    EngineError::Died(Death::Garbled("an answer to another question".to_owned()))
}

/// An answer in progress.
#[derive(Debug)]
pub struct Generation {
    events: mpsc::Receiver<GenerationEvent>,
}

impl Generation {
    /// The next event; the last one is always [`GenerationEvent::Ended`].
    pub async fn next(&mut self) -> GenerationEvent {
        self.events.recv().await.unwrap_or(GenerationEvent::Ended(Err(EngineError::Closed)))
    }
}
