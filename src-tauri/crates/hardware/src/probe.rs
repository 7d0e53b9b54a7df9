use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::card::{self, Gaps};
use crate::gpu::{Gpu, GpuSample};
use crate::nvml::{Absence, AbsenceCause, Nvml};
use crate::{Cpu, Disk, Hardware, Memory, library};

/// How many samples pass before a library that did not start is tried again: starting one can take
/// a second, and samples are taken every second.
const SAMPLES_BETWEEN_TRIES: u32 = 9;

/// Looks at the machine as often as it is asked. Clones share what they loaded.
///
/// Nothing is kept between two looks unless there are [`Meters`]: a laptop's card that somebody holds
/// open does not sleep.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    /// Where NVML is; `None` for the usual places.
    library: Option<PathBuf>,
    /// Held while NVML is asked, so that one never unloads it under another.
    nvml: Arc<Mutex<Loaded>>,
}

#[derive(Debug, Default)]
struct Loaded {
    nvml: Option<nvml_wrapper::Nvml>,
    /// How many live [`Meters`] want it kept.
    meters: usize,
    /// Why it did not start, and how many samples are answered with that.
    failed: Option<(AbsenceCause, u32)>,
}

impl Loaded {
    /// NVML, started if it is not.
    fn open(&mut self, library: Option<&Path>) -> Result<&nvml_wrapper::Nvml, Absence> {
        let nvml = match self.nvml.take() {
            Some(nvml) => nvml,
            None => library::open(library).inspect_err(|absence| {
                self.failed = Some((absence.cause, SAMPLES_BETWEEN_TRIES));
            })?,
        };
        self.failed = None;
        Ok(self.nvml.insert(nvml))
    }

    /// Ends NVML where nobody needs it, or where the next look must start it anew.
    fn settle(&mut self, lost: bool) {
        if lost {
            self.failed = Some((AbsenceCause::GpuLost, SAMPLES_BETWEEN_TRIES));
        }
        if lost || self.meters == 0 {
            self.nvml = None;
        }
    }
}

impl Probe {
    /// With NVML from the usual places of this system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With NVML from this file, or, where the path is a bare name, from where the system's loader finds
    /// it. An empty path means the usual places.
    #[must_use]
    pub fn with_library(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let library = (!path.as_os_str().is_empty()).then_some(path);
        Self { library, ..Self::default() }
    }

    /// The machine as it is now. It may take a second where a driver has to wake its card. `data_dir`
    /// need not exist yet: the disk is that of its nearest existing ancestor.
    #[must_use]
    pub fn look(&self, data_dir: &Path) -> Hardware {
        let (nvml, gpus) = self.cards();
        Hardware { nvml, gpus, ..crate::host(data_dir) }
    }

    /// Values that change, as often as they are wanted, until the handle is dropped.
    #[must_use]
    pub fn meters(&self) -> Meters {
        let mut loaded = self.loaded();
        loaded.meters += 1;
        // Who begins to look does not wait for what failed before.
        loaded.failed = None;
        drop(loaded);
        Meters { probe: self.clone() }
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.nvml.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cards(&self) -> (Nvml, Vec<Gpu>) {
        let mut loaded = self.loaded();
        let nvml = match loaded.open(self.library.as_deref()) {
            Ok(nvml) => nvml,
            Err(absence) => return (Nvml::absent(absence), Vec::new()),
        };
        let mut gaps = Gaps::default();
        let cuda = gaps.take("cuda_version", nvml.sys_cuda_driver_version());
        let driver_version = gaps.take("driver_version", nvml.sys_driver_version());
        let gpus = card::each(nvml, &mut gaps, |index, device| card::describe(nvml, index, device));
        let lost = gaps.lost;
        loaded.settle(lost);
        let nvml = Nvml {
            available: true,
            driver_version,
            // 1000 times the major and 10 times the minor version.
            cuda_version: cuda.map(|version| format!("{}.{}", version / 1000, version % 1000 / 10)),
            missing: gaps.missing,
            ..Nvml::default()
        };
        (nvml, gpus)
    }
}

/// Keeps NVML loaded, so that a sample costs little. For as long as a person looks.
#[derive(Debug)]
pub struct Meters {
    probe: Probe,
}

/// What the meters show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Why NVML does not answer; `None` where it does.
    pub nvml_absent: Option<AbsenceCause>,
    /// Cards, in the order NVML numbers them.
    pub gpus: Vec<GpuSample>,
    /// Main memory.
    pub memory: Memory,
}

impl Meters {
    /// Now. Where NVML did not start, it is tried again with every tenth sample.
    #[must_use]
    pub fn sample(&self) -> Sample {
        let (nvml_absent, gpus) = self.cards();
        Sample { nvml_absent, gpus, memory: Memory::probe() }
    }

    fn cards(&self) -> (Option<AbsenceCause>, Vec<GpuSample>) {
        let mut loaded = self.probe.loaded();
        if let Some((cause, wait)) = &mut loaded.failed
            && *wait > 0
        {
            *wait -= 1;
            return (Some(*cause), Vec::new());
        }
        let nvml = match loaded.open(self.probe.library.as_deref()) {
            Ok(nvml) => nvml,
            Err(absence) => return (Some(absence.cause), Vec::new()),
        };
        let mut gaps = Gaps::default();
        let gpus = card::each(nvml, &mut gaps, card::sample);
        let lost = gaps.lost;
        loaded.settle(lost);
        (None, gpus)
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        let mut loaded = self.probe.loaded();
        loaded.meters = loaded.meters.saturating_sub(1);
        loaded.settle(false);
    }
}

/// Processor, memory and disk, without a question to NVML: for who needs to know at once.
pub(crate) fn host(data_dir: &Path) -> Hardware {
    Hardware {
        nvml: Nvml::absent(Absence { cause: AbsenceCause::NotAsked, detail: None }),
        gpus: Vec::new(),
        cpu: Cpu::probe(),
        memory: Memory::probe(),
        disk: Disk::probe(data_dir),
    }
}
