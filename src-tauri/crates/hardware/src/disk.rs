use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The disk under the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What this user can still write, in bytes.
    pub free: Option<u64>,
}

impl Disk {
    pub(crate) fn probe(data_dir: &Path) -> Self {
        let Some(folder) = nearest_existing(data_dir) else {
            return Self { free: None };
        };
        Self { free: free_below(&folder) }
    }
}

fn free_below(folder: &Path) -> Option<u64> {
    // Kernel file systems such as /proc have no space at all.
    let space = fs4::statvfs(folder).ok().filter(|space| space.total_space() > 0)?;
    Some(space.available_space())
}

/// The path itself or the closest folder above it that exists, links resolved.
fn nearest_existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find_map(|ancestor| ancestor.canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_does_not_exist_yet_counts_as_its_parent() {
        let here = std::env::temp_dir().canonicalize().expect("there is a folder for temporary files");
        assert_eq!(nearest_existing(&here.join("not/there/yet")), Some(here));
    }
}
