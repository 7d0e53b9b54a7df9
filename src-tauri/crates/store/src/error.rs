//! What can go wrong, by kind: what happened, what it means for the user's data, what to do.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ffi::{self, ErrorCode};

use crate::{Holder, Timestamp};

/// Every failure of this crate. `to_string` is written for people; [`StoreError::code`] for programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another program writes this data folder.
    #[error(
        "The data folder {} is in use by {}. Only one program at a time can change it; your conversations are safe and can still be read.",
        dir.display(), describe(holder.as_ref())
    )]
    Busy {
        /// The data folder.
        dir: PathBuf,
        /// Who holds it, where the holder has said so.
        holder: Option<Holder>,
    },
    /// The file was written by a later version of the program.
    #[error(
        "{} was written by a newer version of Reprise (format {found}, this one knows {known}). It was left untouched.",
        file.display()
    )]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest schema version that this program knows.
        known: u32,
    },
    /// The file is of an earlier format, and only a writer may upgrade it.
    #[error(
        "{} is in an older format ({found}, this version of Reprise reads {known}). It was left untouched.",
        file.display()
    )]
    Older {
        /// The database.
        file: PathBuf,
        /// Its schema version.
        found: u32,
        /// The schema version that this program reads.
        known: u32,
    },
    /// A step of the upgrade to a newer format failed; the file is as it was before that step.
    #[error(
        "Upgrading the conversation history failed, and it was left in its earlier format. Nothing is lost{}.",
        backup.as_ref().map_or(String::new(), |path| format!("; a copy from before is at {}", path.display()))
    )]
    Upgrade {
        /// The copy made before the upgrade.
        backup: Option<PathBuf>,
        /// What the step ran into.
        #[source]
        source: Box<StoreError>,
    },
    /// The data folder, or a file in it, cannot be written.
    #[error("{} cannot be written. Nothing was changed.", path.display())]
    ReadOnly {
        /// What cannot be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Option<io::Error>,
    },
    /// No space is left.
    #[error("The disk is full, so this change was not saved. Everything saved before is safe.")]
    DiskFull,
    /// The disk reported a failure while reading or writing.
    #[error(
        "The disk failed while reading or writing the conversation history ({detail}). This change was not saved."
    )]
    Disk {
        /// What the system said.
        detail: String,
    },
    /// The file is not what was written to it.
    #[error("{} is damaged: {detail}. It was left as it is.", file.display())]
    Damaged {
        /// The damaged file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no such thing.
    #[error("There is no {noun} {id}. It may have been deleted.")]
    NotFound {
        /// `conversation`, `message` or `snapshot`.
        noun: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// Not an id at all.
    #[error("{text:?} is not the id of a {noun}.")]
    InvalidId {
        /// `conversation`, `message` or `snapshot`.
        noun: &'static str,
        /// What was given, cut to 64 characters.
        text: String,
    },
    /// The change does not fit the conversation as it is. Nothing was changed.
    #[error("This change cannot be made: {why}. Nothing was changed.")]
    Conflict {
        /// Why not.
        why: &'static str,
    },
    /// The data path is not a usable folder.
    #[error("The data folder {} cannot be used: {why}.", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// Why not.
        why: String,
        /// What the system said.
        #[source]
        source: Option<io::Error>,
    },
    /// Another program holds a lock on the database for too long.
    #[error(
        "The conversation history is locked by another program, so this change was not saved. Everything saved before is safe."
    )]
    Locked,
    /// The saved states cannot be read or written. They are a cache: no text depends on them.
    #[error(
        "The saved states of conversations could not be read or written ({detail}). No message is affected; conversations are replayed from their text instead."
    )]
    Snapshots {
        /// What the database or the system said.
        detail: String,
        /// Whether the file is damaged, so that starting it over would help.
        damaged: bool,
    },
    /// A state was not saved, because too little space would be left on the disk.
    #[error(
        "The state was not saved: {} are free on the disk, {} are to stay free, and it needs {} more. No message is affected.",
        size(*free), size(*keep_free), size(*needed)
    )]
    DiskLow {
        /// Bytes that the state still needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are to stay free.
        keep_free: u64,
    },
    /// The disk filled up. Removing takes room, too: for the journal.
    #[error("The disk is full: saved states can be neither added nor removed. No message is affected.")]
    SnapshotsFull {
        /// The smaller budget in bytes that holds from now on.
        budget_shrunk: Option<u64>,
    },
    /// A state was not saved, because pinned ones leave no room for it.
    #[error(
        "The state was not saved: pinned snapshots leave no room in the budget of {}. No message is affected.",
        size(*budget)
    )]
    BudgetFull {
        /// The budget in bytes.
        budget: u64,
    },
    /// A snapshot was to be finished before all its pieces were there.
    #[error("The state was not saved: piece {number} of {of} was never stored. No message is affected.")]
    ChunkMissing {
        /// The first missing piece, counted from 1.
        number: usize,
        /// How many pieces the snapshot has.
        of: usize,
    },
    /// A snapshot that contradicts itself is not stored.
    #[error("The state was not saved: {why}. No message is affected.")]
    SnapshotRefused {
        /// Why not.
        why: String,
    },
    /// The file to be imported is not a bundle at all.
    #[error("The file is not a bundle of Reprise: {why}. Nothing was imported.")]
    NotABundle {
        /// What it is instead.
        why: &'static str,
    },
    /// The bundle was written by a later version of the program.
    #[error(
        "The bundle was written by a newer version of Reprise (format {found}, this one knows {known}). Nothing was imported."
    )]
    BundleNewer {
        /// Its format.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// What the bundle says of the conversation is not what was written.
    #[error("The bundle is cut short or was changed: {what}. Nothing was imported.")]
    BundleDamaged {
        /// What is wrong with it.
        what: String,
    },
    /// The state in the bundle is not what was written.
    #[error(
        "The state in the bundle is cut short or was changed: {what}. The conversation is read from its text instead."
    )]
    StateDamaged {
        /// What is wrong with it.
        what: String,
    },
    /// The file to be imported cannot be read.
    #[error("{} cannot be read: {why}. Nothing was imported.", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The file to be written is there already.
    #[error("{} is there already, and was left as it is. Nothing was exported.", path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// The conversation could not be exported. What lay in the file's place is still there.
    #[error("{} could not be written: {why}. Nothing was exported.", path.display())]
    ExportFailed {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Anything else that the database reports.
    #[error(
        "The conversation history could not be read or written ({detail}). Everything saved before is safe."
    )]
    Storage {
        /// What the database said.
        detail: String,
    },
}

fn describe(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "another program".to_owned(),
        |holder| format!("{} (process {})", holder.program, holder.pid),
    )
}

/// Decimal, as sizes on disks are told.
fn size(bytes: u64) -> String {
    if bytes < 1_000_000_000 {
        format!("{:.1} MB", bytes as f64 / 1e6)
    } else {
        format!("{:.1} GB", bytes as f64 / 1e9)
    }
}

impl StoreError {
    /// A stable word for programs to branch on.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "data_dir_busy",
            Self::Newer { .. } => "data_newer",
            Self::Older { .. } => "data_older",
            Self::Upgrade { .. } => "upgrade_failed",
            Self::ReadOnly { .. } => "data_dir_readonly",
            Self::DiskFull => "disk_full",
            Self::Disk { .. } => "disk_error",
            Self::Damaged { .. } => "data_damaged",
            Self::NotFound { .. } => "not_found",
            Self::InvalidId { .. } => "invalid_id",
            Self::Conflict { .. } => "conflict",
            Self::Unusable { .. } => "data_dir_unusable",
            Self::Locked => "database_locked",
            Self::Snapshots { damaged: true, .. } => "snapshots_damaged",
            Self::Snapshots { damaged: false, .. } => "snapshots_unusable",
            Self::DiskLow { .. } => "disk_low",
            Self::SnapshotsFull { .. } => "snapshots_full",
            Self::BudgetFull { .. } => "budget_full",
            Self::ChunkMissing { .. } => "chunk_missing",
            Self::SnapshotRefused { .. } => "snapshot_refused",
            Self::NotABundle { .. } => "not_a_bundle",
            Self::BundleNewer { .. } => "bundle_newer",
            Self::BundleDamaged { .. } => "bundle_damaged",
            Self::StateDamaged { .. } => "state_damaged",
            Self::FileUnreadable { .. } => "file_unreadable",
            Self::FileExists { .. } => "file_exists",
            Self::ExportFailed { .. } => "export_failed",
            Self::Storage { .. } => "storage",
        }
    }

    /// What the user can do about it, as one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "Close the other program, or choose another data folder.",
            Self::Newer { .. } => "Install the newer version of Reprise, or choose another data folder.",
            Self::Older { .. } => {
                "Open it once with this version of Reprise in a folder that can be written; a backup is made first."
            }
            Self::Upgrade { .. } => {
                "Free some disk space and try again, or go on with the earlier version of Reprise."
            }
            Self::ReadOnly { .. } => "Allow writing to the data folder, or choose another one.",
            Self::DiskFull => "Free some disk space and try again.",
            Self::Disk { .. } => {
                "Check the disk and its connection, and copy the data folder to another disk."
            }
            Self::Damaged { .. } => {
                "Copy the data folder to a safe place, then put back a copy from its backups folder or your own backup."
            }
            Self::NotFound { .. } => "Refresh the list of conversations.",
            Self::InvalidId { .. } => "Take the id from the list of conversations.",
            Self::Conflict { .. } => "Refresh the conversation and try again.",
            Self::Unusable { .. } => {
                "Choose another data folder, or make this one readable and writable for you."
            }
            Self::Locked => "Close other programs that have the data folder open, and try again.",
            Self::Snapshots { .. } => {
                "Restart Reprise; if it happens again, delete snapshots.db in the data folder while Reprise is closed."
            }
            Self::DiskLow { .. } | Self::SnapshotsFull { .. } => {
                "Free some disk space, or choose a smaller budget for snapshots."
            }
            Self::BudgetFull { .. } => "Unpin a snapshot, or choose a larger budget for snapshots.",
            Self::ChunkMissing { .. } | Self::SnapshotRefused { .. } => {
                "Go on: the state is saved again after the next answer."
            }
            Self::NotABundle { .. } => "Export the conversation as a bundle, and import that file.",
            Self::BundleNewer { .. } => "Install the newer version of Reprise, and import it there.",
            Self::BundleDamaged { .. } => "Copy the file again, or export the conversation again.",
            Self::StateDamaged { .. } => {
                "Go on: nothing that was said is missing. To spare the reading, export the conversation again."
            }
            Self::FileUnreadable { .. } => "Check the path, the permissions and the disk that it lies on.",
            Self::FileExists { .. } => "Choose another name, or ask for it to be overwritten.",
            Self::ExportFailed { .. } => "Choose another place, or free some disk space.",
            Self::Storage { .. } => {
                "Try again; if it happens again, copy the data folder to a safe place and report it."
            }
        }
    }

    /// The kind of an I/O error at `path`.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { path: path.to_owned(), source: Some(error) }
            }
            _ => Self::Unusable { path: path.to_owned(), why: error.to_string(), source: Some(error) },
        }
    }

    pub(crate) fn damaged(file: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), detail: detail.into() }
    }
}

/// The file that SQLite's own error codes speak of: they carry no path.
const HISTORY: &str = "history.db";

/// No space is left, perhaps only for the small file that connections share, of which SQLite tells as of a
/// failing disk.
pub(crate) const fn is_disk_full(failure: ffi::Error) -> bool {
    matches!(failure.code, ErrorCode::DiskFull) || failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let detail = error.to_string();
        match &error {
            E::SqliteFailure(failure, _) => match failure.code {
                _ if is_disk_full(*failure) => Self::DiskFull,
                ErrorCode::SystemIoFailure => Self::Disk { detail },
                ErrorCode::ReadOnly => Self::ReadOnly { path: HISTORY.into(), source: None },
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                    Self::damaged(Path::new(HISTORY), detail)
                }
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked,
                _ => Self::Storage { detail },
            },
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..) => Self::damaged(Path::new(HISTORY), detail),
            _ => Self::Storage { detail },
        }
    }
}

impl Holder {
    /// The calling process, since `now`, under the name people know the program by.
    #[must_use]
    pub fn this_process(program: impl Into<String>, now: Timestamp) -> Self {
        Self { pid: std::process::id(), program: program.into(), since: now }
    }
}
