//! The key file, and what is made with the key: a snapshot's seal.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::data_dir::{private_file, sync_dir};
use crate::snapshots::hash::Tag;
use crate::{DataDir, StoreError};

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The secret that seals what is stored. Never shown.
#[derive(Clone)]
pub(crate) struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What the key file holds.
pub(crate) enum KeyFile {
    /// A key.
    Good(Key),
    /// There is no file.
    Absent,
    /// A file that is no key.
    Wrong,
}

impl KeyFile {
    pub(crate) fn read(dir: &DataDir) -> Result<Self, StoreError> {
        let path = dir.snapshots_key();
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() && meta.len() != KEY_BYTES as u64 => return Ok(Self::Wrong),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Absent),
            Err(error) => return Err(StoreError::io(&path, error)),
        }
        let bytes = fs::read(&path).map_err(|error| StoreError::io(&path, error))?;
        Ok(bytes.try_into().map_or(Self::Wrong, |bytes| Self::Good(Key(bytes))))
    }
}

impl Key {
    /// Writes a key file in one step, for its owner only.
    pub(crate) fn write(dir: &DataDir, bytes: [u8; KEY_BYTES]) -> Result<Self, StoreError> {
        let path = dir.snapshots_key();
        let write = || {
            let fresh = path.with_extension("key.new");
            let mut file = private_file(&fresh)?;
            file.set_len(0)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            drop(file);
            fs::rename(&fresh, &path)?;
            sync_dir(dir.root())
        };
        write().map_err(|error| StoreError::io(&path, error))?;
        Ok(Self(bytes))
    }

    /// Names the key without telling it, so that a lost key can be told from a broken seal.
    pub(crate) fn fingerprint(&self) -> [u8; 16] {
        let mut fingerprint = [0; 16];
        let hash = blake3::keyed_hash(&self.0, b"reprise: the name of the key");
        fingerprint.copy_from_slice(&hash.as_bytes()[..16]);
        fingerprint
    }

    /// Seals parts in their order. Each goes in with its length, so that no byte can change sides.
    pub(crate) fn seal(&self, purpose: &str, parts: &[&[u8]]) -> Tag {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Tag::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// Takes away what others may do with the key file; it may have been copied here without its mode.
#[cfg(unix)]
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)?.permissions().mode();
    let others = mode & 0o077;
    if others == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// Folders of a user's profile are private on Windows by themselves.
#[cfg(not(unix))]
pub(crate) fn make_private(_path: &Path) -> io::Result<()> {
    Ok(())
}
