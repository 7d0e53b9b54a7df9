//! What the supervisor was asked for, and how far it has come.

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant};

use crate::fault::EngineError;
use crate::handle::GenerationEvent;
use crate::message::{
    Event, Finished, GenerateSpec, Hello, LoadSpec, ModelInfo, Request, RequestId, StopReason,
};

/// Answered at once, also while the worker computes.
#[derive(Debug)]
pub(crate) enum Quick {
    Hello(oneshot::Sender<Result<Hello, EngineError>>),
    Ping(oneshot::Sender<Result<(), EngineError>>),
}

/// The wish to end; answered when the worker has ended. `None`: every handle was dropped.
#[derive(Debug)]
pub(crate) struct Stop(pub(crate) Option<oneshot::Sender<()>>);

/// One after the other.
#[derive(Debug)]
pub(crate) enum Work {
    Load {
        spec: LoadSpec,
        progress: mpsc::Sender<f32>,
        cancel: watch::Receiver<bool>,
        reply: oneshot::Sender<Result<ModelInfo, EngineError>>,
    },
    Unload(oneshot::Sender<Result<(), EngineError>>),
    Generate {
        spec: GenerateSpec,
        events: mpsc::Sender<GenerationEvent>,
        cancel: watch::Receiver<bool>,
    },
    /// One question with one answer.
    Ask {
        request: Request,
        reply: oneshot::Sender<Result<Event, EngineError>>,
    },
}

impl Work {
    /// Whether nobody wants it any more. Then it does not begin: a load that was taken back must not
    /// cost the model that is loaded.
    pub(crate) fn is_unwanted(&self) -> bool {
        match self {
            Self::Load { cancel, reply, .. } => *cancel.borrow() || reply.is_closed(),
            Self::Unload(reply) => reply.is_closed(),
            Self::Ask { reply, .. } => reply.is_closed(),
            Self::Generate { events, cancel, .. } => *cancel.borrow() || events.is_closed(),
        }
    }

    /// Ends it as cancelled before it began.
    pub(crate) fn end_unbegun(self) {
        match self {
            Self::Load { reply, .. } => drop(reply.send(Err(crate::Fault::Cancelled.into()))),
            // Nobody listens.
            Self::Unload(_) | Self::Ask { .. } => {}
            Self::Generate { events, .. } => {
                let nothing = Finished {
                    stop: StopReason::Cancelled,
                    prefill_tokens: 0,
                    prefill_ms: 0.0,
                    ttft_ms: None,
                    checkpoint_ms: None,
                    decode_tokens: 0,
                    decode_ms: 0.0,
                };
                deliver(events, vec![GenerationEvent::Ended(Ok(nothing))]);
            }
        }
    }

    /// Ends it with an error before it began.
    pub(crate) fn fail(self, error: EngineError) {
        match self {
            Self::Load { reply, .. } => drop(reply.send(Err(error))),
            Self::Unload(reply) => drop(reply.send(Err(error))),
            Self::Ask { reply, .. } => drop(reply.send(Err(error))),
            Self::Generate { events, .. } => deliver(events, vec![GenerationEvent::Ended(Err(error))]),
        }
    }
}

/// A request that the worker is working on.
pub(crate) struct InFlight {
    pub(crate) id: RequestId,
    pub(crate) work: Working,
    /// When the worker last made progress on it, or was asked to end it.
    pub(crate) last_sign: Instant,
    /// How long it may take to the next progress; after a cancel, to the end.
    pub(crate) patience: Duration,
    pub(crate) cancel_sent: bool,
}

/// What a request waits for besides the worker.
pub(crate) enum Stir {
    /// Nobody wants the result any more.
    Unwanted,
    /// The reader of the answer took the event that was waiting for room.
    Delivered,
}

impl InFlight {
    pub(crate) fn deadline(&self) -> Instant {
        self.last_sign + self.patience
    }

    /// Whether an event waits for a slow reader: until it is taken nothing more is read from the
    /// worker, and the worker's silence means nothing.
    pub(crate) fn is_stalled(&self) -> bool {
        matches!(self.work, Working::Generate { unsent: Some(_), .. })
    }

    /// Resolves with the next thing that does not come from the worker. Safe to drop at any time.
    pub(crate) async fn stir(&mut self) -> Stir {
        let wanted = !self.cancel_sent;
        match &mut self.work {
            Working::Load { cancel, reply, .. } if wanted => {
                tokio::select! {
                    () = wanted_no_more(cancel) => Stir::Unwanted,
                    () = reply.closed() => Stir::Unwanted,
                }
            }
            Working::Ask { reply, can_end: true } if wanted => {
                reply.closed().await;
                Stir::Unwanted
            }
            Working::Generate { events, cancel, unsent } => {
                tokio::select! {
                    () = wanted_no_more(cancel), if wanted => Stir::Unwanted,
                    () = events.closed(), if wanted => Stir::Unwanted,
                    permit = events.reserve(), if unsent.is_some() => {
                        // An error means that nobody reads any more: the event is dropped.
                        if let (Some(event), Ok(permit)) = (unsent.take(), permit) {
                            permit.send(event);
                        }
                        Stir::Delivered
                    }
                    else => std::future::pending().await,
                }
            }
            _ => std::future::pending().await,
        }
    }
}

async fn wanted_no_more(cancel: &mut watch::Receiver<bool>) {
    // A dropped sender is no cancellation: the closed reply channel is.
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        std::future::pending::<()>().await;
    }
}

pub(crate) enum Working {
    Load {
        spec: LoadSpec,
        progress: mpsc::Sender<f32>,
        cancel: watch::Receiver<bool>,
        reply: oneshot::Sender<Result<ModelInfo, EngineError>>,
    },
    Unload(oneshot::Sender<Result<(), EngineError>>),
    Generate {
        events: mpsc::Sender<GenerationEvent>,
        cancel: watch::Receiver<bool>,
        /// Waits for room in `events`.
        unsent: Option<GenerationEvent>,
    },
    Ask {
        reply: oneshot::Sender<Result<Event, EngineError>>,
        /// Whether the worker ends it early where nobody wants it any more.
        can_end: bool,
    },
}

impl Working {
    /// Ends it with an error, after everything that came before it.
    pub(crate) fn fail(self, error: EngineError) {
        match self {
            Self::Load { reply, .. } => drop(reply.send(Err(error))),
            Self::Unload(reply) => drop(reply.send(Err(error))),
            Self::Ask { reply, .. } => drop(reply.send(Err(error))),
            Self::Generate { events, unsent, .. } => {
                deliver(events, unsent.into_iter().chain([GenerationEvent::Ended(Err(error))]).collect());
            }
        }
    }
}

/// Hands the last events of an answer over without waiting here: a reader that is slow, or never
/// reads, holds up nobody else.
pub(crate) fn deliver(events: mpsc::Sender<GenerationEvent>, last: Vec<GenerationEvent>) {
    tokio::spawn(async move {
        for event in last {
            // Nobody listens: nothing to tell.
            if events.send(event).await.is_err() {
                break;
            }
        }
    });
}
