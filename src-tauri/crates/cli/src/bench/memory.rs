//! Resident memory of a process, in MB; nothing where the system has no /proc.

/// Now.
pub(super) fn resident_mb(pid: u32) -> Option<f64> {
    status_mb(pid, "VmRSS:")
}

/// The most since [`forget_peak`].
pub(super) fn peak_mb(pid: u32) -> Option<f64> {
    status_mb(pid, "VmHWM:")
}

/// Lets the peak begin anew. False where the system does not allow it.
pub(super) fn forget_peak(pid: u32) -> bool {
    // See proc_pid_clear_refs(5).
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

fn status_mb(pid: u32, field: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// How far a process went beyond what it held before.
pub(super) struct Growth {
    pid: u32,
    before: Option<f64>,
}

impl Growth {
    pub(super) fn of(pid: u32) -> Self {
        let before = if forget_peak(pid) { resident_mb(pid) } else { None };
        Self { pid, before }
    }

    /// In MB; `None` where it cannot be told.
    pub(super) fn so_far(&self) -> Option<f64> {
        Some((peak_mb(self.pid)? - self.before?).max(0.0))
    }
}
