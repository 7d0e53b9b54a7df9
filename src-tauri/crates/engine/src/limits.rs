//! How long the app waits for a worker before it believes that it is gone.

use std::time::Duration;

/// Bounds on silence. What the app itself is to blame for does not count: a slow reader of the answer,
/// or a machine that slept. Liveness is progress (a batch, a piece), not only a ticker: a worker whose pipes
/// answer but whose decode hangs is found out too.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From start to `Hello`.
    pub handshake: Duration,
    /// Silence while loading. Slow disks report progress rarely.
    pub load: Duration,
    /// Silence between two prefill batches: one batch of a large model on a slow CPU takes many seconds.
    pub prefill: Duration,
    /// Silence between two tokens.
    pub decode: Duration,
    /// From a cancel or an unload to its end; silence while state bytes move.
    pub settle: Duration,
    /// How often a busy worker is pinged.
    pub ping_every: Duration,
    /// A ping unanswered for this long means that the whole process is stopped.
    pub ping: Duration,
    /// From the request to shut down to being killed.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(20),
            load: Duration::from_mins(2),
            prefill: Duration::from_mins(3),
            decode: Duration::from_mins(1),
            settle: Duration::from_mins(3),
            ping_every: Duration::from_secs(2),
            ping: Duration::from_secs(20),
            shutdown: Duration::from_secs(3),
        }
    }
}
