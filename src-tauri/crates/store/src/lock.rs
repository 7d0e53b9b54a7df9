//! One writer per data folder, by a lock that the operating system drops when its holder dies.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data_dir::private_file;
use crate::{DataDir, StoreError, Timestamp};

/// Who holds a data folder, in words for the next one who asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// The program's name as people know it.
    pub program: String,
    /// Since when.
    pub since: Timestamp,
}

/// The right to write a data folder, until dropped.
///
/// The lock is on `writer.lock`; who holds it is told by `writer.json` beside it, because a locked
/// file cannot be read on Windows. A `writer.json` left by a crash means nothing: only the lock counts.
#[derive(Debug)]
pub struct WriterLock {
    info: PathBuf,
    // Held for its lock, which ends with the process at the latest.
    file: File,
}

impl WriterLock {
    /// Takes the lock, or says who has it. Never waits.
    pub fn acquire(dir: &DataDir, holder: &Holder) -> Result<Self, StoreError> {
        let path = dir.writer_lock();
        let file = private_file(&path).map_err(|error| StoreError::io(dir.root(), error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Busy { dir: dir.root().to_owned(), holder: Self::holder(dir) });
            }
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::Unusable {
                    path: dir.root().to_owned(),
                    why: format!("its file system cannot lock files ({error})"),
                    source: Some(error),
                });
            }
        }
        let lock = Self { info: dir.writer_info(), file };
        lock.introduce(holder)?;
        Ok(lock)
    }

    /// What `writer.json` says; `None` where it is missing or unreadable.
    #[must_use]
    pub fn holder(dir: &DataDir) -> Option<Holder> {
        let bytes = fs::read(dir.writer_info()).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Replaces `writer.json` in one step, so that nobody reads half of it.
    fn introduce(&self, holder: &Holder) -> Result<(), StoreError> {
        let fresh = self.info.with_extension("json.new");
        let write = || {
            let mut file = private_file(&fresh)?;
            file.set_len(0)?;
            file.write_all(serde_json::to_string(holder)?.as_bytes())?;
            drop(file);
            fs::rename(&fresh, &self.info)
        };
        write().map_err(|error| StoreError::io(&self.info, error))
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // Only courtesy: a stale `writer.json` is harmless.
        let _ = fs::remove_file(&self.info);
        // Closing would release it too, but not while a child process that is just being started
        // still has a copy of the open file.
        let _ = self.file.unlock();
    }
}
