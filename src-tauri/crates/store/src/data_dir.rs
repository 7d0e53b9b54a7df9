//! The data folder: where each file of it lies, and whether it can be used at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::StoreError;

/// A data folder. Cheap to clone; holds no lock and no open file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// A data folder to write to; made where it is missing, for its owner only (0700).
    /// Its parent must be there: a missing one is more often a disk that is not mounted or a slip
    /// of the pen than a wish, and an empty library in its place would look like lost conversations.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::make(root.into(), false)
    }

    /// As [`DataDir::create`], making missing parents too: for the default place in the user's home.
    pub fn create_with_parents(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::make(root.into(), true)
    }

    /// A data folder to read from. Nothing is made; a folder that is not there reads as empty.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        match fs::metadata(&root) {
            Ok(meta) if !meta.is_dir() => Err(unusable(&root, "it is a file, not a folder")),
            Ok(_) => Self { root }.readable(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { root }),
            Err(error) => Err(unreadable(&root, error)),
        }
    }

    fn make(root: PathBuf, parents: bool) -> Result<Self, StoreError> {
        match fs::metadata(&root) {
            Ok(meta) if meta.is_dir() => return Self { root }.readable(),
            Ok(_) => return Err(unusable(&root, "it is a file, not a folder")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&root, error)),
        }
        if !parents && let Some(parent) = root.parent() {
            let parent_is_there = parent.as_os_str().is_empty() || parent.is_dir();
            if !parent_is_there {
                let why = format!("the folder {} above it does not exist", parent.display());
                return Err(unusable(&root, why));
            }
        }
        private_dir(&root, parents).map_err(|error| StoreError::io(&root, error))?;
        Ok(Self { root })
    }

    fn readable(self) -> Result<Self, StoreError> {
        match fs::read_dir(&self.root) {
            Ok(_) => Ok(self),
            Err(error) => Err(unreadable(&self.root, error)),
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The conversations.
    #[must_use]
    pub fn history_db(&self) -> PathBuf {
        self.root.join("history.db")
    }

    /// Saved states of conversations: a cache, safe to delete while no program has it open.
    #[must_use]
    pub fn snapshots_db(&self) -> PathBuf {
        self.root.join("snapshots.db")
    }

    /// The key that seals the saved states. Without it they are replayed from the text instead.
    #[must_use]
    pub fn snapshots_key(&self) -> PathBuf {
        self.root.join("snapshots.key")
    }

    /// Copies of the conversations, one from before each upgrade.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// Log files.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The file whose lock makes one process the writer. It stays empty.
    #[must_use]
    pub fn writer_lock(&self) -> PathBuf {
        self.root.join("writer.lock")
    }

    /// Who the writer says it is. Only meaningful while the lock is held.
    #[must_use]
    pub fn writer_info(&self) -> PathBuf {
        self.root.join("writer.json")
    }
}

fn unusable(path: &Path, why: impl Into<String>) -> StoreError {
    StoreError::Unusable { path: path.to_owned(), why: why.into(), source: None }
}

fn unreadable(path: &Path, error: io::Error) -> StoreError {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "you are not allowed to read it".to_owned(),
        io::ErrorKind::NotADirectory => "part of its path is a file, not a folder".to_owned(),
        _ => error.to_string(),
    };
    StoreError::Unusable { path: path.to_owned(), why, source: Some(error) }
}

/// Makes a folder that only its owner may enter.
pub(crate) fn private_dir(path: &Path, parents: bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(parents);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file that only its owner may read or write, made where it is missing.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes names created, renamed or removed in `dir` durable. Windows does so by itself.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}
