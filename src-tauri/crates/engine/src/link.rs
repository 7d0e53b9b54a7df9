//! A connection to one worker, real or scripted: channels on this side, whatever it takes on the other.

use tokio::sync::mpsc;

use crate::fault::Death;
use crate::message::{EventFrame, RequestFrame};

/// What comes out of a worker's control path.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every one is an event")]
pub enum Incoming {
    /// A frame.
    Event(EventFrame),
    /// The path broke; nothing follows.
    Lost(Loss),
}

/// How the control path broke.
#[derive(Debug)]
pub enum Loss {
    /// The other end is closed: the worker ended, or is about to.
    Closed,
    /// What came is not this protocol.
    Garbled(String),
}

/// One worker: its two paths and the process behind them. Dropping it ends the worker.
#[derive(Debug)]
pub struct Link {
    /// Control, towards the worker.
    pub requests: mpsc::Sender<RequestFrame>,
    /// Control and tokens, from the worker.
    pub events: mpsc::Receiver<Incoming>,
    /// State bytes towards the worker, in frames of at most [`crate::frame::MAX_STATE`].
    pub state_in: mpsc::Sender<Vec<u8>>,
    /// State bytes from the worker.
    pub state_out: mpsc::Receiver<Vec<u8>>,
    /// What runs there.
    pub process: Box<dyn WorkerProcess>,
}

/// The process behind a link.
pub trait WorkerProcess: Send + std::fmt::Debug {
    /// Waits a moment for it to end by itself, ends it otherwise, and says how it ended. Blocks, for
    /// some seconds at most.
    fn reap(&mut self) -> String;
    /// Ends it now, without waiting until it has ended.
    fn kill(&mut self);
}

/// Starts workers.
pub trait Spawner: Send + 'static {
    /// Starts one more.
    fn spawn(&mut self) -> Result<Link, Death>;
}
