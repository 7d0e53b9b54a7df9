//! Time and randomness, passed in.

use std::time::SystemTime;

use reprise_store::Timestamp;

/// Where a use-case gets the moment and fresh randomness from.
pub trait World: Send + Sync + std::fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
    /// Randomness that was never given before.
    fn random(&self) -> u128;
}

/// The system's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemWorld;

impl World for SystemWorld {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            // Only ids and seeds are made of it: the clock keeps them apart where the system has no
            // randomness to give, and nothing secret depends on it.
            let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            return nanos.as_nanos();
        }
        u128::from_le_bytes(bytes)
    }
}
