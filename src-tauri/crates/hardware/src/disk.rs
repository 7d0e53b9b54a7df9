use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sysinfo::{DiskRefreshKind, Disks};

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
    // Only the one disk is asked for its space: asking a dead network mount would hang.
    let mut disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing()).ok()?;
    let (_, disk) = disks
        .iter_mut()
        .filter_map(|disk| Some((depth_above(folder, disk.mount_point())?, disk)))
        .max_by_key(|(depth, _)| *depth)?;
    if !same_device(folder, disk.mount_point()) {
        return None;
    }
    disk.refresh_specifics(DiskRefreshKind::nothing().with_storage());
    (disk.total_space() > 0).then(|| disk.available_space())
}

/// The list leaves out network and memory file systems; a folder on one must not be taken for its parent's.
#[cfg(unix)]
fn same_device(folder: &Path, mount: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    device(folder).is_some() && device(folder) == device(mount)
}

#[cfg(not(unix))]
fn same_device(_folder: &Path, _mount: &Path) -> bool {
    true
}

/// The path itself or the closest folder above it that exists, links resolved.
fn nearest_existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find_map(|ancestor| ancestor.canonicalize().ok())
}

/// How deep a mount point lies, if `folder` is below it; the deepest is the one that holds the folder.
fn depth_above(folder: &Path, mount: &Path) -> Option<usize> {
    folder.starts_with(mount).then(|| mount.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_holds_the_folder() {
        let check = |folder: &str, expect: Option<&str>| {
            let mounts = ["/", "/home", "/home/ann/data", "/homestead"];
            let holder = mounts
                .into_iter()
                .filter_map(|mount| Some((depth_above(Path::new(folder), Path::new(mount))?, mount)))
                .max();
            assert_eq!(holder.map(|(_, mount)| mount), expect);
        };
        check("/home/ann/data/reprise", Some("/home/ann/data"));
        check("/home/ann", Some("/home"));
        check("/homestead/x", Some("/homestead"));
        check("/var", Some("/"));
        check("relative", None);
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_counts_as_its_parent() {
        let here = std::env::temp_dir().canonicalize().expect("there is a folder for temporary files");
        assert_eq!(nearest_existing(&here.join("not/there/yet")), Some(here));
    }
}
