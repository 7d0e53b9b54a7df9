//! The only way to ask for inference.

use tokio::sync::{mpsc, oneshot, watch};

use crate::fault::{Death, EngineError};
use crate::limits::Limits;
use crate::link::Spawner;
use crate::message::{Finished, GenerateSpec, Hello, LoadSpec, ModelInfo, Prepared, TokenId};
use crate::supervisor::{Inbox, Supervisor};
use crate::work::{Quick, Stop, Work};

pub use crate::work::Direction;

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
    status: watch::Receiver<Status>,
}

impl EngineHandle {
    /// Starts the supervision; the worker itself starts with the first request. Needs a tokio runtime.
    #[must_use]
    pub fn start(spawner: impl Spawner, limits: Limits) -> Self {
        let (stop, stop_rx) = mpsc::channel(1);
        let (quick, quick_rx) = mpsc::channel(16);
        let (work, work_rx) = mpsc::channel(16);
        let (status_tx, status) = watch::channel(Status::default());
        let inbox = Inbox { stop: stop_rx, quick: quick_rx, work: work_rx };
        tokio::spawn(Supervisor::new(Box::new(spawner), limits, inbox, status_tx).run());
        Self { stop, quick, work, status }
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

    /// Moves `bytes` of no meaning over the state path, to measure it.
    pub async fn move_state(&self, bytes: u64, direction: Direction) -> Result<(), EngineError> {
        let (reply, answer) = oneshot::channel();
        let work = Work::MoveState { bytes, direction, reply };
        self.work.send(work).await.map_err(|_| EngineError::Closed)?;
        answer.await.map_err(|_| EngineError::Closed)?
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
