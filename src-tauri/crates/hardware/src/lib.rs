//! What this machine has: processor, memory, disk, graphics cards.
//!
//! A [`Probe`] looks and never fails: a value that is not known is `None`, and says why where there is
//! somebody to ask. NVIDIA's cards are known through NVML, a library of their driver that is loaded at
//! run time and linked by nothing; that it is not there is data too, with cause and remedy. While
//! somebody watches, [`Meters`] keep it loaded. Nothing here runs a program, opens a network or imports a
//! sibling crate.
//!
//! To add a fact: a field in the type of its subject, documented with its unit, read in that subject's
//! module; of a card also its name in `card.rs`.

mod card;
mod cpu;
pub mod decide;
mod disk;
mod gpu;
mod library;
mod memory;
mod nvml;
mod probe;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use cpu::Cpu;
pub use disk::Disk;
pub use gpu::{Gpu, GpuProcess, GpuSample, Missing, MissingCause};
pub use memory::Memory;
pub use nvml::{AbsenceCause, Nvml, Os};
pub use probe::{Meters, Probe, Sample};

/// The machine as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    /// Whether NVIDIA's management library answered, or why it did not.
    pub nvml: Nvml,
    /// Graphics cards, in the order NVML numbers them.
    pub gpus: Vec<Gpu>,
    /// The processor.
    pub cpu: Cpu,
    /// Main memory.
    pub memory: Memory,
    /// The disk that holds, or would hold, the data folder.
    pub disk: Disk,
}

/// Free bytes on the disk that holds, or would hold, `folder`; `None` where that is not known.
#[must_use]
pub fn disk_free(folder: &Path) -> Option<u64> {
    Disk::probe(folder).free
}

/// Processor, memory and disk at once, without a question to NVML, which can take a second. `data_dir`
/// need not exist yet: the disk is that of its nearest existing ancestor.
#[must_use]
pub fn host(data_dir: &Path) -> Hardware {
    probe::host(data_dir)
}

/// Looks at the machine once, with NVML from the usual places; see [`Probe::look`].
#[must_use]
pub fn probe(data_dir: &Path) -> Hardware {
    Probe::new().look(data_dir)
}

#[cfg(test)]
mod tests;
