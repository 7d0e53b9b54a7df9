//! Processes of one place, found by the mark in their environment, and what is done to them.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The variable that marks them.
pub const MARK: &str = "REPRISE_E2E_TEST";

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// File name of its program.
    pub program: String,
}

/// All that carry the mark of `place`. A process that has ended and was not collected is none.
pub fn of(place: &Path) -> Vec<Process> {
    let mark = format!("{MARK}={}", place.display());
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let marked = entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let environment = fs::read(entry.path().join("environ")).ok()?;
        let is_ours = environment.split(|byte| *byte == 0).any(|pair| pair == mark.as_bytes());
        let program = fs::read_link(entry.path().join("exe")).ok()?;
        is_ours.then(|| Process {
            pid,
            program: program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        })
    });
    marked.collect()
}

/// Those of one program.
pub fn named(place: &Path, program: &str) -> Vec<u32> {
    of(place).into_iter().filter(|process| process.program == program).map(|process| process.pid).collect()
}

/// Sends a signal: `KILL`, `STOP`, `TERM`.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "process {pid} could not be sent {name}");
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
