use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gpu::Missing;

/// NVIDIA's management library, which knows the machine's NVIDIA cards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nvml {
    /// It was loaded and answered.
    pub available: bool,
    /// Why it is not available, as a sentence; `None` when it is.
    pub reason: Option<String>,
    /// The same by kind; `None` when it is.
    pub cause: Option<AbsenceCause>,
    /// What a person can do about it on this system, as a sentence; `None` when it is.
    pub remedy: Option<String>,
    /// What the loader or NVML itself said; `None` when it said nothing.
    pub detail: Option<String>,
    /// The driver's own version: `570.86.15`.
    pub driver_version: Option<String>,
    /// The newest CUDA that driver serves: `12.8`.
    pub cuda_version: Option<String>,
    /// Why a value is not there although NVML answered, by the value's name. `gpus` stands here
    /// where the cards could not be counted.
    pub missing: BTreeMap<String, Missing>,
}

impl Nvml {
    /// Why there is none.
    pub(crate) fn absent(absence: Absence) -> Self {
        Self {
            reason: Some(absence.cause.reason().to_owned()),
            cause: Some(absence.cause),
            remedy: Some(absence.cause.remedy(Os::here()).to_owned()),
            detail: absence.detail,
            ..Self::default()
        }
    }
}

/// There is no NVML, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absence {
    pub(crate) cause: AbsenceCause,
    pub(crate) detail: Option<String>,
}

impl Absence {
    pub(crate) fn new(cause: AbsenceCause, detail: impl Into<String>) -> Self {
        Self { cause, detail: Some(detail.into()) }
    }
}

/// Why NVML does not answer, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbsenceCause {
    /// Nobody looked.
    NotAsked,
    /// There is no such library.
    NoLibrary,
    /// It is for another kind of processor.
    WrongArchitecture,
    /// It is not a library, is cut short, lacks another one, or lacks what NVML has.
    NotLoadable,
    /// The library is there and the driver does not run.
    NoDriver,
    /// This user may not talk to the driver.
    NoPermission,
    /// The library is of another driver than the one that runs.
    DriverLibraryMismatch,
    /// A card does not answer any more, and nothing goes without it.
    GpuLost,
    /// Anything else.
    Other,
}

/// Whose remedy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux, also under Windows.
    Linux,
    /// Windows.
    Windows,
    /// macOS, for which there is no NVML.
    MacOs,
}

impl Os {
    /// This one; what is none of the three is spoken to like Linux.
    #[must_use]
    pub fn here() -> Self {
        match std::env::consts::OS {
            "windows" => Self::Windows,
            "macos" => Self::MacOs,
            _ => Self::Linux,
        }
    }
}

impl AbsenceCause {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NotAsked,
        Self::NoLibrary,
        Self::WrongArchitecture,
        Self::NotLoadable,
        Self::NoDriver,
        Self::NoPermission,
        Self::DriverLibraryMismatch,
        Self::GpuLost,
        Self::Other,
    ];

    /// What is so, as a sentence.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAsked => "Nobody has looked for NVIDIA GPUs yet.",
            Self::NoLibrary => "NVIDIA's management library is not on this machine.",
            Self::WrongArchitecture => {
                "NVIDIA's management library is there, for another kind of processor than this program."
            }
            Self::NotLoadable => "NVIDIA's management library is there and cannot be loaded.",
            Self::NoDriver => "NVIDIA's management library is there, but NVIDIA's driver does not run.",
            Self::NoPermission => "This user may not talk to NVIDIA's driver.",
            Self::DriverLibraryMismatch => {
                "NVIDIA's management library belongs to another version of the driver than the one that runs."
            }
            Self::GpuLost => "An NVIDIA GPU has stopped answering.",
            Self::Other => "NVIDIA's management library did not start.",
        }
    }

    /// What a person can do about it, as one or two sentences.
    #[must_use]
    pub fn remedy(self, os: Os) -> &'static str {
        match (self, os) {
            (Self::NotAsked, _) => "Look at the hardware again.",
            (_, Os::MacOs) => "None is needed: NVIDIA has no driver for this system.",
            (Self::NoLibrary, Os::Linux) => {
                "If this machine has an NVIDIA GPU, install NVIDIA's driver from your distribution; in a container, \
                 start it with the GPU passed through."
            }
            (Self::NoLibrary, Os::Windows) => {
                "If this machine has an NVIDIA GPU, install its driver from nvidia.com/drivers."
            }
            (Self::WrongArchitecture, Os::Linux) => {
                "Install the driver's libraries for this program's processor, from your distribution, and look where \
                 REPRISE_NVML_LIB points if it is set."
            }
            (Self::WrongArchitecture, Os::Windows) => {
                "Install the Reprise that is made for this processor, or the driver that is, and look where \
                 REPRISE_NVML_LIB points if it is set."
            }
            (Self::NotLoadable, Os::Linux) => {
                "Install NVIDIA's driver anew from your distribution, and look where REPRISE_NVML_LIB points if it is \
                 set."
            }
            (Self::NotLoadable, Os::Windows) => {
                "Install NVIDIA's driver anew from nvidia.com/drivers, and look where REPRISE_NVML_LIB points if it \
                 is set."
            }
            (Self::NoDriver, Os::Linux) => {
                "Load the driver with `sudo modprobe nvidia`. If that fails, install it anew: a new kernel needs the \
                 driver built for it, and secure boot needs it signed."
            }
            (Self::NoDriver, Os::Windows) => {
                "See in the Device Manager whether the GPU is enabled, and install its driver anew from \
                 nvidia.com/drivers."
            }
            (Self::NoPermission, Os::Linux) => {
                "Give this user read and write access to /dev/nvidiactl and /dev/nvidia0, on many systems by the \
                 group `video` or `render`; then log in anew."
            }
            (Self::NoPermission, Os::Windows) => {
                "Start Reprise as the user who is logged in at the screen, or ask whoever runs this machine."
            }
            (Self::DriverLibraryMismatch, Os::Linux | Os::Windows) => {
                "Start the machine anew: the driver was updated while the old one was running."
            }
            (Self::GpuLost, Os::Linux | Os::Windows) => {
                "Start the machine anew. If it happens again, look at the GPU's power and cooling."
            }
            (Self::Other, Os::Linux) => {
                "See whether `nvidia-smi` works in a terminal; what it says names what is wrong with the driver."
            }
            (Self::Other, Os::Windows) => {
                "Start the machine anew, then install NVIDIA's driver anew from nvidia.com/drivers."
            }
        }
    }
}
