//! Why a snapshot cannot be used. Always an answer, never a reason to stop: the text is replayed.

use crate::StoreError;

/// What is wrong with a snapshot, in words that follow "because".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It is not there; it may just have been evicted.
    #[error("the snapshot is gone")]
    Gone,
    /// It was sealed with a key that this data folder does not have any more.
    #[error("the key is gone")]
    KeyGone,
    /// What is stored is not what was sealed, or belongs to another snapshot or conversation.
    #[error("the snapshot is not what was saved")]
    Tag,
    /// The description of its pieces makes no sense.
    #[error("the snapshot's description cannot be read: {why}")]
    Manifest {
        /// What is wrong with it.
        why: String,
    },
    /// A piece is not there.
    #[error("piece {number} of {of} is missing")]
    ChunkMissing {
        /// The piece, counted from 1.
        number: usize,
        /// How many pieces there are.
        of: usize,
    },
    /// A piece has another length than was saved.
    #[error("piece {number} of {of} has {found} bytes instead of {expected}")]
    ChunkLength {
        /// The piece, counted from 1.
        number: usize,
        /// How many pieces there are.
        of: usize,
        /// Its bytes now.
        found: u64,
        /// Its bytes when it was saved.
        expected: u64,
    },
    /// A piece has other bytes than were saved.
    #[error("piece {number} of {of} is not what was saved")]
    ChunkChanged {
        /// The piece, counted from 1.
        number: usize,
        /// How many pieces there are.
        of: usize,
    },
    /// The database cannot read it.
    #[error("the snapshot cannot be read from the disk: {detail}")]
    Database {
        /// What the database said.
        detail: String,
        /// Whether it is the file that is at fault, rather than this moment: memory, open files, a lock.
        damaged: bool,
    },
}

impl Damage {
    /// Whether another try may well succeed, so that nothing is to be dropped for it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Gone | Self::Database { damaged: false, .. })
    }
}

/// A store that cannot be read, as damage of what was to be read.
impl From<&StoreError> for Damage {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Snapshots { detail, damaged } => {
                Self::Database { detail: detail.clone(), damaged: *damaged }
            }
            error => Self::Database { detail: error.to_string(), damaged: false },
        }
    }
}
