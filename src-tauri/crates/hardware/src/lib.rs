//! What this machine has: processor, memory, disk, graphics cards.
//!
//! [`probe`] returns data and never fails: a value the system does not give is `None`, and what is
//! not looked for says so in words. It runs nothing, opens no network and imports no sibling crate.
//! What to do with the answer is decided elsewhere, from this data alone.
//!
//! To add a fact: a field in the type of its subject, documented with its unit, read in that
//! subject's module.

mod cpu;
mod disk;
mod gpu;
mod memory;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use cpu::Cpu;
pub use disk::Disk;
pub use gpu::{Gpu, Nvml};
pub use memory::Memory;

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

/// Looks at the machine. `data_dir` need not exist yet: the disk is that of its nearest existing ancestor.
#[must_use]
pub fn probe(data_dir: &Path) -> Hardware {
    Hardware {
        nvml: Nvml::not_asked(),
        gpus: Vec::new(),
        cpu: Cpu::probe(),
        memory: Memory::probe(),
        disk: Disk::probe(data_dir),
    }
}

#[cfg(test)]
mod tests;
