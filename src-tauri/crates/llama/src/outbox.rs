//! The worker's voice: frames to the app, from any thread.

use std::io::PipeWriter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reprise_engine::frame;
use reprise_engine::message::{Event, EventFrame, RequestId};

use crate::pipes;

/// Sends events. A send waits while the app does not read: nothing piles up here. When the app is gone,
/// a send ends the process.
#[derive(Debug, Clone)]
pub struct Outbox {
    /// Guards the order of frames on the pipe.
    pipe: Arc<Mutex<PipeWriter>>,
    /// The latest request that somebody wants to end.
    cancelled: Arc<AtomicU64>,
}

impl Outbox {
    /// Over the control pipe.
    #[must_use]
    pub fn new(pipe: PipeWriter) -> Self {
        Self { pipe: Arc::new(Mutex::new(pipe)), cancelled: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Sends one event.
    pub fn send(&self, id: Option<RequestId>, event: Event) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = frame::write_control(&mut *pipe, &EventFrame { id, event }) {
            tracing::info!(%error, "the app is gone");
            pipes::exit_at_once(0);
        }
    }

    /// Notes that a request should end.
    pub fn cancel(&self, target: RequestId) {
        self.cancelled.store(target.0, Ordering::Relaxed);
    }

    /// The voice for one request.
    #[must_use]
    pub fn on(&self, id: RequestId) -> Reply {
        Reply { outbox: self.clone(), id }
    }
}

/// Speaks for one request and knows whether it is still wanted.
#[derive(Debug, Clone)]
pub struct Reply {
    outbox: Outbox,
    id: RequestId,
}

impl Reply {
    /// Sends one event of this request.
    pub fn send(&self, event: Event) {
        self.outbox.send(Some(self.id), event);
    }

    /// Whether somebody asked to end it.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.outbox.cancelled.load(Ordering::Relaxed) == self.id.0
    }
}
