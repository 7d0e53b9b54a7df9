use serde::{Deserialize, Serialize};

/// NVIDIA's management library, which knows the machine's NVIDIA cards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nvml {
    /// It was loaded and answered.
    pub available: bool,
    /// Why it is not available, as a sentence; `None` when it is.
    pub reason: Option<String>,
    /// The driver's own version: `570.86.15`.
    pub driver_version: Option<String>,
    /// The newest CUDA that driver serves: `12.8`.
    pub cuda_version: Option<String>,
}

impl Nvml {
    /// NVML was not even looked for.
    pub(crate) fn not_asked() -> Self {
        Self {
            available: false,
            reason: Some("This version of Reprise does not look for NVIDIA GPUs.".to_owned()),
            driver_version: None,
            cuda_version: None,
        }
    }
}

/// One NVIDIA card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// NVML's number of the card, from 0.
    pub index: u32,
    /// The maker's name of it.
    pub name: Option<String>,
    /// Its memory, in bytes.
    pub memory_total: Option<u64>,
    /// What of it nobody uses now, in bytes.
    pub memory_free: Option<u64>,
    /// CUDA compute capability: `9.0`.
    pub compute_capability: Option<String>,
    /// Temperature of the chip, in degrees Celsius.
    pub temperature_c: Option<u32>,
    /// Share of the last sample period in which it computed, 0 to 100.
    pub utilisation: Option<u32>,
}
