use serde::{Deserialize, Serialize};
use sysinfo::System;

/// Main memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// All of it, in bytes; within a container, what the container may use.
    pub total: Option<u64>,
    /// What programs can still get without swapping, in bytes.
    pub available: Option<u64>,
}

impl Memory {
    pub(crate) fn probe() -> Self {
        let Ok(mut system) = System::new() else {
            return Self { total: None, available: None };
        };
        system.refresh_memory();
        let machine =
            Self { total: known(system.total_memory()), available: known(system.available_memory()) };
        match system.cgroup_limits() {
            Some(limits) => machine.within(limits.total_memory, limits.free_memory),
            None => machine,
        }
    }

    /// The tighter of this and a container's limit.
    fn within(self, limit_total: u64, limit_free: u64) -> Self {
        let tighter = |own: Option<u64>, limit: u64| match own {
            Some(own) if limit > 0 => Some(own.min(limit)),
            None if limit > 0 => Some(limit),
            own => own,
        };
        Self { total: tighter(self.total, limit_total), available: tighter(self.available, limit_free) }
    }
}

/// sysinfo says 0 for what it could not read.
fn known(bytes: u64) -> Option<u64> {
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_limit_counts_only_where_it_is_tighter() {
        let machine = Memory { total: Some(100), available: Some(60) };
        let check = |limit, free, expect: (u64, u64)| {
            let memory = machine.clone().within(limit, free);
            assert_eq!((memory.total, memory.available), (Some(expect.0), Some(expect.1)));
        };
        check(40, 10, (40, 10));
        check(400, 90, (100, 60));
        check(0, 0, (100, 60));
    }

    #[test]
    fn nothing_read_is_nothing_known() {
        assert_eq!(known(0), None);
        assert_eq!(known(1), Some(1));
    }
}
