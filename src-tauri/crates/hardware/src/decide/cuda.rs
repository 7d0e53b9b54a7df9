//! What NVIDIA asks for: driver floors, compute capabilities, and the variable that hides cards.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::situation::{Gpu, Os};

/// A CUDA compute capability: 8.9 is `{ major: 8, minor: 9 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Capability {
    /// The generation.
    pub major: u32,
    /// Within the generation.
    pub minor: u32,
}

impl Capability {
    /// Reads `8.9`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

/// Which cards a piece of CUDA code runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// This capability alone (`90a`).
    Exact,
    /// This one and later ones of its generation: machine code.
    Generation,
    /// This one and all later ones: PTX, which the driver compiles.
    Later,
}

/// A capability that a module was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// What it was compiled for.
    pub capability: Capability,
    /// What it runs on.
    pub reach: Reach,
}

impl Architecture {
    /// Reads one entry of a list as `CMake` writes it: `80-real`, `90a-real`, `75-virtual`, `75`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, kind) = match text.trim().split_once('-') {
            Some((number, kind @ ("real" | "virtual"))) => (number, kind),
            Some(_) => return None,
            None => (text.trim(), "both"),
        };
        let digits = number.trim_end_matches(['a', 'f']);
        let reach = match (&number[digits.len()..], kind) {
            ("a", _) => Reach::Exact,
            ("f", _) | ("", "real") => Reach::Generation,
            ("", _) => Reach::Later,
            _ => return None,
        };
        let number: u32 = digits.parse().ok()?;
        Some(Self { capability: Capability { major: number / 10, minor: number % 10 }, reach })
    }

    /// Whether its code runs on a card of this capability.
    #[must_use]
    pub fn runs_on(&self, card: Capability) -> bool {
        match self.reach {
            Reach::Exact => card == self.capability,
            Reach::Generation => card.major == self.capability.major && card >= self.capability,
            Reach::Later => card >= self.capability,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reach = match self.reach {
            Reach::Exact => " only",
            Reach::Generation => "",
            Reach::Later => " and later",
        };
        write!(out, "{}{reach}", self.capability)
    }
}

/// The oldest drivers that serve one major version of CUDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverFloor {
    /// With all features.
    pub full: &'static str,
    /// By minor-version compatibility, with most of them.
    pub least: &'static str,
}

/// The floor of a CUDA major version; `None` where none is known.
///
/// Source: NVIDIA, "CUDA Toolkit Release Notes", tables "CUDA Toolkit and Minimum Required Driver Version for CUDA
/// Minor Version Compatibility" and "CUDA Toolkit and Corresponding Driver Versions"; and "CUDA Compatibility",
/// chapter "Minor Version Compatibility" (11.x ≥ 450, 12.x ≥ 525, 13.x ≥ 580). For 11, `full` is that of 11.8.
#[must_use]
pub fn driver_floor(os: Os, cuda_major: u32) -> Option<DriverFloor> {
    let (full, least) = match (os, cuda_major) {
        (Os::Linux, 11) => ("520.61", "450.80"),
        (Os::Linux, 12) => ("525.60.13", "525.60.13"),
        (Os::Linux | Os::Windows, 13) => ("580", "580"),
        (Os::Windows, 11) => ("520.06", "452.39"),
        (Os::Windows, 12) => ("527.41", "527.41"),
        _ => return None,
    };
    Some(DriverFloor { full, least })
}

/// Compares versions of numbers and dots; what is missing at the end is 0. `None` where one is anything else.
pub(super) fn compare(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (numbers(left)?, numbers(right)?);
    let longest = left.len().max(right.len());
    let at = |numbers: &[u64], index: usize| numbers.get(index).copied().unwrap_or(0);
    let unequal = (0..longest).map(|i| at(&left, i).cmp(&at(&right, i))).find(|order| order.is_ne());
    Some(unequal.unwrap_or(Ordering::Equal))
}

fn numbers(version: &str) -> Option<Vec<u64>> {
    version.trim().split('.').map(|part| part.parse().ok()).collect()
}

/// What `CUDA_VISIBLE_DEVICES` lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mask {
    /// Indices of the visible cards, in the order they are listed.
    pub(super) visible: Vec<usize>,
    /// The entry that ended the list early, where one did.
    pub(super) stopped_at: Option<String>,
    /// The value stands in quotation marks, which CUDA takes for part of the first entry.
    pub(super) quoted: bool,
}

/// Reads it as CUDA does, quotation marks aside, which are read as whoever wrote them meant.
///
/// Source: CUDA C++ Programming Guide, "CUDA Environment Variables": entries are indices or (the beginning of) UUIDs,
/// the first invalid one ends the list. That a repeated entry leaves nothing, and that an index ends at the first
/// character which is no digit, is how drivers behave, and how `PyTorch` reads the variable.
pub(super) fn read_mask(value: &str, gpus: &[Gpu]) -> Mask {
    let is_quote = |mark: char| matches!(mark, '"' | '\'');
    let quoted = value.contains(is_quote);
    let value: String = value.chars().filter(|mark| !is_quote(*mark)).collect();
    let mut visible = Vec::new();
    let mut stopped_at = None;
    if !value.trim().is_empty() {
        for entry in value.split(',').map(str::trim) {
            match find(entry, gpus) {
                Some(index) if visible.contains(&index) => {
                    visible.clear();
                    stopped_at = Some(entry.to_owned());
                    break;
                }
                Some(index) => visible.push(index),
                None => {
                    stopped_at = Some(entry.to_owned());
                    break;
                }
            }
        }
    }
    Mask { visible, stopped_at, quoted }
}

fn find(entry: &str, gpus: &[Gpu]) -> Option<usize> {
    let digits = entry.strip_prefix('+').unwrap_or(entry);
    let end = digits.find(|mark: char| !mark.is_ascii_digit()).unwrap_or(digits.len());
    if end > 0 {
        return digits[..end].parse().ok().filter(|index| *index < gpus.len());
    }
    let entry = entry.to_ascii_lowercase();
    if !entry.starts_with("gpu-") || entry.len() == 4 {
        return None;
    }
    let mut matching = gpus.iter().enumerate().filter(|(_, gpu)| {
        gpu.uuid.as_ref().is_some_and(|uuid| uuid.trim().to_ascii_lowercase().starts_with(&entry))
    });
    let (index, _) = matching.next()?;
    matching.next().is_none().then_some(index)
}

/// Whether two UUIDs are the same, with or without the `GPU-` in front.
pub(super) fn same_uuid(left: &str, right: &str) -> bool {
    let bare = |uuid: &str| uuid.trim().to_ascii_lowercase().trim_start_matches("gpu-").to_owned();
    let left = bare(left);
    !left.is_empty() && left == bare(right)
}

/// Whether two addresses are the same place on the bus: `00000000:01:00.0` is `0000:01:00.0` and `01:00.0`.
pub(super) fn same_pci(left: &str, right: &str) -> bool {
    pci(left).is_some_and(|left| pci(right) == Some(left))
}

fn pci(address: &str) -> Option<[u32; 4]> {
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    let (place, function) = address.trim().split_once('.').unwrap_or((address.trim(), "0"));
    let parts: Vec<u32> = place.split(':').map(hex).collect::<Option<_>>()?;
    match parts[..] {
        [bus, device] => Some([0, bus, device, hex(function)?]),
        [domain, bus, device] => Some([domain, bus, device, hex(function)?]),
        _ => None,
    }
}
