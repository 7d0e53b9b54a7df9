//! The content hash of model files, computed once and kept for as long as the file is the same.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::{OptionalExtension, params};

use crate::snapshots::hash::{ContentHash, Tag};
use crate::snapshots::key::Key;
use crate::snapshots::reader::SnapshotReader;
use crate::snapshots::store::SnapshotStore;

/// Bytes read at once. Read, not mapped: a file that is cut short while it is mapped kills the process.
const PIECE_BYTES: usize = 8 << 20;

/// What tells a file from an edited one without reading it. Whoever sets the modification time back
/// cannot set back the change time; Windows does not tell that one without unsafe code, so there the
/// file's number on its disk and its creation time stand in, which a replaced file does not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp([u8; 40]);

impl FileStamp {
    /// Of the files at these paths, in their order.
    pub fn of_all(paths: &[impl AsRef<Path>]) -> io::Result<Vec<Self>> {
        paths.iter().map(|path| Self::of(&File::open(path)?)).collect()
    }

    fn of(file: &File) -> io::Result<Self> {
        let mut stamp = [0; 40];
        for (place, part) in stamp.as_chunks_mut().0.iter_mut().zip(parts(file)?) {
            *place = part.to_le_bytes();
        }
        Ok(Self(stamp))
    }
}

/// Length, modification time, change time, device, inode.
#[cfg(unix)]
fn parts(file: &File) -> io::Result<[u64; 5]> {
    use std::os::unix::fs::MetadataExt;
    let meta = file.metadata()?;
    let moment = |seconds: i64, nanos: i64| {
        // Wraps in the year 2554, and is only compared for equality.
        seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos).cast_unsigned()
    };
    Ok([
        meta.len(),
        moment(meta.mtime(), meta.mtime_nsec()),
        moment(meta.ctime(), meta.ctime_nsec()),
        meta.dev(),
        meta.ino(),
    ])
}

/// Length, modification time, creation time, volume, file index.
#[cfg(windows)]
fn parts(file: &File) -> io::Result<[u64; 5]> {
    let facts = winapi_util::file::information(file)?;
    Ok([
        facts.file_size(),
        facts.last_write_time().unwrap_or_default(),
        facts.creation_time().unwrap_or_default(),
        facts.volume_serial_number(),
        facts.file_index(),
    ])
}

/// Remembers content hashes. Kept narrow so that hashing can go on beside the store's own thread.
pub trait HashCache {
    /// The hash kept for this path, if it was kept with this stamp.
    fn find(&self, path: &Path, stamp: &FileStamp) -> Option<ContentHash>;

    /// Keeps a hash.
    fn keep(&self, path: &Path, stamp: &FileStamp, hash: &ContentHash);
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHashCache;

impl HashCache for NoHashCache {
    fn find(&self, _: &Path, _: &FileStamp) -> Option<ContentHash> {
        None
    }

    fn keep(&self, _: &Path, _: &FileStamp, _: &ContentHash) {}
}

/// BLAKE3 of a file, on all processors, or from the cache where the file is the same. `progress` is told
/// the bytes read since the last call, and stops the work by answering so: then there is no hash.
/// A file that changes while it is read is hashed as read, and not kept.
pub fn content_hash(
    path: &Path,
    cache: &dyn HashCache,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> io::Result<Option<ContentHash>> {
    let mut file = File::open(path)?;
    let before = FileStamp::of(&file)?;
    if let Some(hash) = cache.find(path, &before) {
        return Ok(Some(hash));
    }
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let filled = fill(&mut file, &mut buffer)?;
        if filled == 0 {
            break;
        }
        hasher.update_rayon(&buffer[..filled]);
        if progress(filled as u64).is_break() {
            return Ok(None);
        }
    }
    let hash = ContentHash::from_bytes(*hasher.finalize().as_bytes());
    // By its path again: the file may have been written to, or another may stand there by now.
    if FileStamp::of(&File::open(path)?)? == before {
        cache.keep(path, &before, &hash);
    }
    Ok(Some(hash))
}

/// One hash for a model in several files, in their order: of one file it is the file's own.
pub fn content_hash_all(
    paths: &[&Path],
    cache: &dyn HashCache,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> io::Result<Option<ContentHash>> {
    let mut all = blake3::Hasher::new();
    all.update(b"reprise: the content of several files");
    let mut last = None;
    for path in paths {
        let Some(hash) = content_hash(path, cache, progress)? else { return Ok(None) };
        all.update(hash.as_bytes());
        last = Some(hash);
    }
    if paths.len() == 1 {
        return Ok(last);
    }
    Ok(Some(ContentHash::from_bytes(*all.finalize().as_bytes())))
}

/// Fills the buffer as far as the file goes.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// For reading beside the writer: what it kept is found, and nothing is added.
impl HashCache for SnapshotReader {
    fn find(&self, path: &Path, stamp: &FileStamp) -> Option<ContentHash> {
        let key = self.key.as_ref()?;
        let name = path.as_os_str().as_encoded_bytes();
        let found = self.db.read(|conn| {
            let mut statement =
                conn.prepare_cached("SELECT hash, tag FROM file_hashes WHERE path = ?1 AND stamp = ?2")?;
            let row = statement.query_row(params![name, &stamp.0[..]], |row| Ok((row.get(0)?, row.get(1)?)));
            Ok(row.optional()?)
        });
        let (hash, tag): (ContentHash, Tag) = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "a kept content hash could not be read");
            None
        })?;
        (seal(key, name, stamp, &hash) == tag).then_some(hash)
    }

    fn keep(&self, _: &Path, _: &FileStamp, _: &ContentHash) {}
}

/// In `snapshots.db`, sealed: a changed row cannot make one model pass for another.
impl HashCache for SnapshotStore {
    fn find(&self, path: &Path, stamp: &FileStamp) -> Option<ContentHash> {
        self.reader.find(path, stamp)
    }

    fn keep(&self, path: &Path, stamp: &FileStamp, hash: &ContentHash) {
        let Some(key) = self.reader.key.as_ref() else { return };
        let name = path.as_os_str().as_encoded_bytes();
        let tag = seal(key, name, stamp, hash);
        let kept = self.db.read(|conn| {
            let sql = "INSERT OR REPLACE INTO file_hashes (path, stamp, hash, tag) VALUES (?1, ?2, ?3, ?4)";
            conn.prepare_cached(sql)?.execute(params![name, &stamp.0[..], hash, tag])?;
            Ok(())
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "a content hash could not be kept");
        }
    }
}

fn seal(key: &Key, path: &[u8], stamp: &FileStamp, hash: &ContentHash) -> Tag {
    key.seal("reprise: file hash", &[path, &stamp.0, hash.as_bytes()])
}
