//! NVML's shared library: where it is looked for, what kind of file it is, how it is opened.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::nvml::{Absence, AbsenceCause};

/// What of a file is looked at before the loader gets it.
const HEAD: u64 = 64 << 10;

/// Opens `chosen`, or else the first of the usual places that has one.
pub(crate) fn open(chosen: Option<&Path>) -> Result<Nvml, Absence> {
    if let Some(path) = chosen {
        return open_at(path);
    }
    let mut absence = Absence { cause: AbsenceCause::NoLibrary, detail: None };
    for place in usual_places() {
        match open_at(&place) {
            // The first place's message is the one that says something.
            Err(next) if next.cause == AbsenceCause::NoLibrary => {
                absence.detail = absence.detail.or(next.detail);
            }
            opened => return opened,
        }
    }
    Err(absence)
}

/// A bare name is looked up by the system's loader. On Windows that would also look beside the
/// program and in the working folder, so there every place is a whole path.
fn usual_places() -> Vec<PathBuf> {
    if cfg!(target_os = "macos") {
        return Vec::new();
    }
    if cfg!(windows) {
        let below = |folder: &str, rest: &str| std::env::var_os(folder).map(|at| Path::new(&at).join(rest));
        return [
            below("SystemRoot", r"System32\nvml.dll"),
            below("ProgramW6432", r"NVIDIA Corporation\NVSMI\nvml.dll"),
        ]
        .into_iter()
        .flatten()
        .collect();
    }
    // The loader's own folders; then those of WSL, NixOS and NVIDIA's containers, which it may not know.
    [
        "libnvidia-ml.so.1",
        "/usr/lib/wsl/lib/libnvidia-ml.so.1",
        "/run/opengl-driver/lib/libnvidia-ml.so.1",
        "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    ]
    .map(PathBuf::from)
    .to_vec()
}

fn open_at(path: &Path) -> Result<Nvml, Absence> {
    if !is_bare_name(path) {
        look_at(path)?;
    }
    let nvml = Nvml::builder().lib_path(path.as_os_str()).init().map_err(|error| why(&error, path))?;
    if let Err(error) = &nvml.lib().nvmlShutdown {
        let absence = Absence::new(AbsenceCause::NotLoadable, error.to_string());
        // Dropping it would call what it does not have, and panic.
        let _ = ManuallyDrop::new(nvml);
        return Err(absence);
    }
    Ok(nvml)
}

fn is_bare_name(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.as_os_str().is_empty())
}

/// Refuses what the loader would refuse in words that mislead, or would die of.
fn look_at(path: &Path) -> Result<(), Absence> {
    let unreadable = |error: std::io::Error| {
        let cause = match error.kind() {
            ErrorKind::NotFound => AbsenceCause::NoLibrary,
            ErrorKind::PermissionDenied => AbsenceCause::NoPermission,
            _ => AbsenceCause::NotLoadable,
        };
        Absence::new(cause, format!("{}: {error}", path.display()))
    };
    let facts = std::fs::metadata(path).map_err(unreadable)?;
    // Opening a pipe would wait for whoever writes it.
    if !facts.is_file() {
        return Err(Absence::new(AbsenceCause::NotLoadable, format!("{} is not a file", path.display())));
    }
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head)).map_err(unreadable)?;
    let refused = match object(&head) {
        // There is no NVML for it; its loader says what is wrong with what somebody names.
        _ if cfg!(target_os = "macos") => None,
        Object::Elf { machine, ends } if cfg!(unix) => refuse(machine, elf_machine(), ends > facts.len()),
        Object::Pe { machine } if cfg!(windows) => refuse(machine, pe_machine(), false),
        _ => Some((AbsenceCause::NotLoadable, "is not a shared library of this system")),
    };
    match refused {
        Some((cause, what)) => Err(Absence::new(cause, format!("{} {what}", path.display()))),
        None => Ok(()),
    }
}

fn refuse(machine: u32, own: Option<u32>, cut: bool) -> Option<(AbsenceCause, &'static str)> {
    if own.is_some_and(|own| own != machine) {
        return Some((AbsenceCause::WrongArchitecture, "is for another kind of processor"));
    }
    cut.then_some((AbsenceCause::NotLoadable, "is cut short"))
}

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    /// `machine` is the number of its processor, with `WORD_32` where it is of 32 bits; `ends` is how
    /// long the file must be for the loader to map it.
    Elf {
        machine: u32,
        ends: u64,
    },
    Pe {
        machine: u32,
    },
    Unknown,
}

/// Marks an ELF file of 32 bits.
const WORD_32: u32 = 1 << 16;

fn elf_machine() -> Option<u32> {
    match std::env::consts::ARCH {
        "x86_64" => Some(62),
        "aarch64" => Some(183),
        _ => None,
    }
}

fn pe_machine() -> Option<u32> {
    match std::env::consts::ARCH {
        "x86_64" => Some(0x8664),
        "aarch64" => Some(0xaa64),
        _ => None,
    }
}

/// Reads the headers of ELF (System V ABI, chapters 4 and 5) and of PE ("PE Format", Microsoft).
fn object(head: &[u8]) -> Object {
    elf(head).or_else(|| pe(head)).unwrap_or(Object::Unknown)
}

fn elf(head: &[u8]) -> Option<Object> {
    const LOADED: u64 = 1;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let (class, order) = (*head.get(4)?, *head.get(5)?);
    let (big, wide) = (order == 2, class == 2);
    let number = |at: usize, length: usize| number(head, at, length, big);
    let word = if wide { 0 } else { WORD_32 };
    let machine = word | u32::try_from(number(18, 2)?).ok()?;
    let mut ends = 64;
    // The rest is for this machine's own files only, all of which are of 64 bits.
    if wide && let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) {
        ends = ends.max(table.saturating_add(size * count));
        for entry in 0..count {
            let Some(at) = usize::try_from(table.saturating_add(entry * size)).ok() else { break };
            let field = |offset, length| number(at.saturating_add(offset), length);
            if let (Some(LOADED), Some(from), Some(bytes)) = (field(0, 4), field(8, 8), field(32, 8)) {
                ends = ends.max(from.saturating_add(bytes));
            }
        }
    }
    Some(Object::Elf { machine, ends })
}

fn pe(head: &[u8]) -> Option<Object> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let at = usize::try_from(number(head, 0x3c, 4, false)?).ok()?;
    if head.get(at..)?.starts_with(b"PE\0\0") {
        let machine = u32::try_from(number(head, at + 4, 2, false)?).ok()?;
        return Some(Object::Pe { machine });
    }
    None
}

fn number(bytes: &[u8], at: usize, length: usize, big: bool) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    Some(if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
}

/// What kept NVML at `path` from starting.
fn why(error: &NvmlError, path: &Path) -> Absence {
    let detail = match error {
        NvmlError::LibloadingError(loader) => loader.to_string(),
        other => other.to_string(),
    };
    let cause = match error {
        NvmlError::LibloadingError(_) => loader_cause(&detail, path),
        NvmlError::FailedToLoadSymbol(_) => AbsenceCause::NotLoadable,
        // 12 is what it says where the driver's other library is not there.
        NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound => AbsenceCause::NoDriver,
        NvmlError::NoPermission | NvmlError::OperatingSystem => AbsenceCause::NoPermission,
        NvmlError::LibRmVersionMismatch => AbsenceCause::DriverLibraryMismatch,
        NvmlError::GpuLost | NvmlError::ResetRequired => AbsenceCause::GpuLost,
        _ => AbsenceCause::Other,
    };
    Absence { cause, detail: Some(detail) }
}

/// The loader tells in words only. A missing library that this one needs is named in the same words
/// as a missing library, so it matters whose name stands before them.
fn loader_cause(message: &str, path: &Path) -> AbsenceCause {
    let named = path.file_name().and_then(OsStr::to_str).is_some_and(|name| message.starts_with(name));
    if message.contains("wrong ELF class") {
        AbsenceCause::WrongArchitecture
    } else if is_bare_name(path) && named && message.contains("No such file") {
        AbsenceCause::NoLibrary
    } else {
        AbsenceCause::NotLoadable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let mut elf = vec![0_u8; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        assert_eq!(object(&elf), Object::Elf { machine: 62, ends: 64 });
        elf[18] = 183;
        assert_eq!(object(&elf), Object::Elf { machine: 183, ends: 64 });
        elf[4] = 1;
        assert_eq!(object(&elf), Object::Elf { machine: WORD_32 + 183, ends: 64 });
        elf[5] = 2;
        elf[18..20].copy_from_slice(&[0, 20]);
        assert_eq!(object(&elf), Object::Elf { machine: WORD_32 + 20, ends: 64 });
        // A table of segments that claims to be anywhere.
        elf[4..6].copy_from_slice(&[2, 1]);
        elf[32..40].fill(0xff);
        elf[54..58].fill(0xff);
        assert!(matches!(object(&elf), Object::Elf { ends: u64::MAX, .. }));

        let mut pe = vec![0_u8; 256];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 128;
        assert_eq!(object(&pe), Object::Unknown);
        pe[128..134].copy_from_slice(b"PE\0\0\x64\x86");
        assert_eq!(object(&pe), Object::Pe { machine: 0x8664 });
        pe[0x3c..0x40].fill(0xff);
        assert_eq!(object(&pe), Object::Unknown);

        for bytes in [&b""[..], b"\x7fELF", b"MZ", b"#!/bin/sh\n"] {
            assert_eq!(object(bytes), Object::Unknown);
        }
    }

    #[test]
    fn a_missing_library_is_told_from_one_that_it_needs() {
        let check = |message: &str, path: &str, expect| {
            assert_eq!(loader_cause(message, Path::new(path)), expect, "{message}");
        };
        let missing = "cannot open shared object file: No such file or directory";
        let name = "libnvidia-ml.so.1";
        check(&format!("{name}: {missing}"), name, AbsenceCause::NoLibrary);
        check(&format!("libneeded.so: {missing}"), name, AbsenceCause::NotLoadable);
        check(&format!("/x/{name}: {missing}"), "/x/libnvidia-ml.so.1", AbsenceCause::NotLoadable);
        check(&format!("{name}: wrong ELF class: ELFCLASS32"), name, AbsenceCause::WrongArchitecture);
        check(&format!("{name}: undefined symbol: x"), name, AbsenceCause::NotLoadable);
    }
}
