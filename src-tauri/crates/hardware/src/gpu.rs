use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One NVIDIA card. A value that is `None` stands in `missing` under its own name, with why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// NVML's number of the card, from 0.
    pub index: u32,
    /// The maker's name of it.
    pub name: Option<String>,
    /// NVIDIA's name of this very card: `GPU-` and a UUID.
    pub uuid: Option<String>,
    /// Where it sits, as Linux and ggml write it: `0000:01:00.0`.
    pub pci_bus_id: Option<String>,
    /// Its memory, in bytes.
    pub memory_total: Option<u64>,
    /// What of it nobody uses now, in bytes.
    pub memory_free: Option<u64>,
    /// What of it programs use, in bytes; the driver keeps some more.
    pub memory_used: Option<u64>,
    /// CUDA compute capability: `9.0`.
    pub compute_capability: Option<String>,
    /// Temperature of the chip, in degrees Celsius.
    pub temperature_c: Option<u32>,
    /// Share of the last sample period in which it computed, 0 to 100.
    pub utilisation: Option<u32>,
    /// What it draws, in milliwatts.
    pub power_mw: Option<u32>,
    /// What it may draw, in milliwatts.
    pub power_limit_mw: Option<u32>,
    /// Who holds its memory, most first.
    pub processes: Option<Vec<GpuProcess>>,
    /// Why a value is not there, by the value's name. `compute_processes` or `graphics_processes` stands
    /// here where one half of `processes` could not be read.
    pub missing: BTreeMap<String, Missing>,
}

/// A process that holds memory of a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProcess {
    /// The system's number of it; within a container the host's.
    pub pid: u32,
    /// Its program, without folders; `None` where the driver does not tell.
    pub name: Option<String>,
    /// What it holds, in bytes; `None` where the driver does not tell (Windows).
    pub memory_used: Option<u64>,
}

/// Why a value is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// By kind.
    pub cause: MissingCause,
    /// NVML's own words.
    pub detail: String,
}

/// Why a value is not there, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingCause {
    /// This card does not have it.
    NotSupported,
    /// This user may not know it.
    NoPermission,
    /// The card does not answer any more.
    GpuLost,
    /// The driver is too old to be asked.
    NotInThisDriver,
    /// Anything else.
    Other,
}

/// What changes on a card from second to second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuSample {
    /// NVML's number of the card, from 0.
    pub index: u32,
    /// Its memory, in bytes.
    pub memory_total: Option<u64>,
    /// What of it nobody uses now, in bytes.
    pub memory_free: Option<u64>,
    /// What of it programs use, in bytes.
    pub memory_used: Option<u64>,
    /// Temperature of the chip, in degrees Celsius.
    pub temperature_c: Option<u32>,
    /// Share of the last sample period in which it computed, 0 to 100.
    pub utilisation: Option<u32>,
    /// What it draws, in milliwatts.
    pub power_mw: Option<u32>,
    /// Why a value is not there, by the value's name.
    pub missing: BTreeMap<String, Missing>,
}
