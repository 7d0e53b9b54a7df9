//! Writing a bundle: beside its place first, and under its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rusqlite::Rows;
use tar::{Builder, EntryType};
use tempfile::NamedTempFile;

use crate::bundle::form::{ConversationForm, Header, MessageForm, Part, StateForm, distinct};
use crate::bundle::{
    CONVERSATION, CONVERSATION_LIMIT, COUNT_LIMIT, HEADER, MESSAGE_LIMIT, MESSAGES, MESSAGES_LIMIT, STATE,
    STATE_LIMIT, chunk_name,
};
use crate::data_dir::sync_dir;
use crate::{
    ChunkToRead, ContentHash, ConversationId, Damage, History, Manifest, Message, SnapshotReader, StoreError,
    Timestamp,
};

/// What is to be packed.
#[derive(Debug)]
pub struct Bundle<'a> {
    /// Where the conversation lies.
    pub history: &'a History,
    /// The conversation.
    pub conversation: ConversationId,
    /// BLAKE3 of its model's files, where it is known.
    pub model_hash: Option<ContentHash>,
    /// The state that goes along, and where its chunks lie.
    pub state: Option<(&'a SnapshotReader, &'a Manifest)>,
    /// Version of the program that writes.
    pub product: &'a str,
    /// The present moment.
    pub now: Timestamp,
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleWritten {
    /// Bytes of the file.
    pub bytes: u64,
    /// How many messages went along.
    pub messages: u64,
    /// How many different chunks went along; 0 without a state.
    pub chunks: usize,
    /// Why the state did not go along although it was asked for.
    pub state_left_out: Option<Damage>,
}

/// Why nothing was packed.
enum Fault {
    /// The conversation cannot be packed.
    Store(StoreError),
    /// The state cannot be read; the conversation can go without.
    State(Damage),
    /// The file cannot be written.
    Io(io::Error),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Bundle<'_> {
    /// Writes the bundle, which only its owner may read. A file that is there already is replaced where
    /// `overwrite` says so, in one step, and else left alone, also where it came while this was written. A
    /// state whose chunks cannot be read is left out, and said to be.
    pub fn write(&self, target: &Path, overwrite: bool) -> Result<BundleWritten, StoreError> {
        let failed = |why: String| StoreError::ExportFailed { path: target.to_owned(), why };
        let exists = || StoreError::FileExists { path: target.to_owned() };
        match fs::symlink_metadata(target) {
            Ok(there) if there.is_dir() => return Err(failed("it is a folder".to_owned())),
            Ok(_) if !overwrite => return Err(exists()),
            _ => {}
        }
        let mut unfinished = Unfinished::create(target).map_err(|error| failed(error.to_string()))?;
        let mut left_out = None;
        let packed = match self.pack(unfinished.0.as_file_mut(), self.state) {
            Err(Fault::State(damage)) => {
                left_out = Some(damage);
                unfinished
                    .begin_anew()
                    .map_err(Fault::Io)
                    .and_then(|()| self.pack(unfinished.0.as_file_mut(), None))
            }
            packed => packed,
        };
        let (messages, chunks) = packed.map_err(|fault| match fault {
            // Of what cannot be packed, the person needs to know that nothing was written.
            Fault::Store(StoreError::BundleDamaged { what }) => failed(what),
            Fault::Store(error) => error,
            Fault::State(damage) => failed(damage.to_string()),
            Fault::Io(error) => failed(error.to_string()),
        })?;
        let bytes = unfinished.publish(target, overwrite).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => failed(error.to_string()),
        })?;
        Ok(BundleWritten { bytes, messages, chunks, state_left_out: left_out })
    }

    /// Returns how many messages and chunks were packed.
    fn pack(
        &self,
        out: &mut File,
        state: Option<(&SnapshotReader, &Manifest)>,
    ) -> Result<(u64, usize), Fault> {
        // The messages are read twice, for the lengths and for the bytes: both times the same ones.
        let reading = self.history.conn.unchecked_transaction()?;
        let found = self.history.conversation(self.conversation)?;
        let form = ConversationForm::of(&found, self.model_hash);
        let conversation = json(&form)?;
        if conversation.len() as u64 > CONVERSATION_LIMIT {
            return Err(unpackable("what is said of the conversation is too long").into());
        }
        let (messages, count) = self.measure()?;
        let mut header = Header::new(self.product, self.now, part(&conversation), (messages, count));
        let described = match state {
            Some((_, manifest)) => Some(describe(manifest)?),
            None => None,
        };
        header.state = described.as_deref().map(part);

        let mut tar = Builder::new(BufWriter::with_capacity(1 << 18, out));
        self.append(&mut tar, HEADER, &json(&header)?)?;
        self.append(&mut tar, CONVERSATION, &conversation)?;
        self.append_messages(&mut tar, messages)?;
        let mut chunks = 0;
        if let (Some((reader, manifest)), Some(described)) = (state, described) {
            self.append(&mut tar, STATE, &described)?;
            chunks = self.append_chunks(&mut tar, reader, manifest)?;
        }
        tar.into_inner()?.flush()?;
        drop(reading);
        Ok((count, chunks))
    }

    fn append(&self, tar: &mut Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let mut entry = self.entry(name, bytes.len() as u64)?;
        Ok(tar.append_data(&mut entry, name, bytes)?)
    }

    fn entry(&self, name: &str, bytes: u64) -> Result<tar::Header, Fault> {
        let mut entry = tar::Header::new_ustar();
        entry.set_path(name)?;
        entry.set_entry_type(EntryType::Regular);
        entry.set_size(bytes);
        entry.set_mode(0o600);
        entry.set_mtime(self.now.as_millis() / 1000);
        entry.set_cksum();
        Ok(entry)
    }

    /// What all messages weigh, and how many there are. Each is read back as an import would, so that what
    /// is written can be imported.
    fn measure(&self) -> Result<(Part, u64), Fault> {
        let mut hasher = blake3::Hasher::new();
        let (mut bytes, mut count) = (0, 0);
        self.each_line(|line| {
            MessageForm::parse(&line[..line.len() - 1], self.conversation, self.now)?;
            hasher.update(line);
            bytes += line.len() as u64;
            count += 1;
            if bytes > MESSAGES_LIMIT || count > COUNT_LIMIT || line.len() > MESSAGE_LIMIT {
                return Err(unpackable("the conversation is larger than a bundle can be"));
            }
            Ok(())
        })?;
        Ok((Part { bytes, blake3: ContentHash::from_bytes(*hasher.finalize().as_bytes()) }, count))
    }

    fn each_line(&self, mut seen: impl FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut statement = self.history.conn.prepare_cached(ALL)?;
        let mut lines =
            Lines { rows: statement.query([self.conversation])?, now: self.now, line: Vec::new(), at: 0 };
        while lines.advance()? {
            seen(&lines.line)?;
        }
        Ok(())
    }

    fn append_messages(&self, tar: &mut Builder<impl Write>, measured: Part) -> Result<(), Fault> {
        let mut statement = self.history.conn.prepare_cached(ALL)?;
        let rows = statement.query([self.conversation])?;
        let mut lines = Hashed {
            inner: Lines { rows, now: self.now, line: Vec::new(), at: 0 },
            hasher: blake3::Hasher::new(),
            bytes: 0,
        };
        let mut entry = self.entry(MESSAGES, measured.bytes)?;
        tar.append_data(&mut entry, MESSAGES, &mut lines)?;
        let written =
            Part { bytes: lines.bytes, blake3: ContentHash::from_bytes(*lines.hasher.finalize().as_bytes()) };
        if written != measured {
            return Err(unpackable("the conversation changed while it was read").into());
        }
        Ok(())
    }

    fn append_chunks(
        &self,
        tar: &mut Builder<impl Write>,
        reader: &SnapshotReader,
        manifest: &Manifest,
    ) -> Result<usize, Fault> {
        let mut chunk = Vec::new();
        let entries = distinct(manifest.chunks.iter().map(|chunk| Ok((chunk.hash, chunk.bytes))))?;
        let of = entries.len();
        for (index, (hash, bytes)) in entries.into_iter().enumerate() {
            let piece = ChunkToRead { number: index + 1, of, hash, bytes };
            reader.read_chunk(&piece, &mut chunk).map_err(Fault::State)?;
            self.append(tar, &chunk_name(&hash), &chunk)?;
        }
        Ok(of)
    }
}

/// Parents before those that follow them.
const ALL: &str = "SELECT * FROM messages WHERE conversation = ?1 ORDER BY seq";

fn describe(manifest: &Manifest) -> Result<Vec<u8>, Fault> {
    let described = json(&StateForm::of(manifest)?)?;
    let fits = described.len() as u64 <= STATE_LIMIT
        && StateForm::parse(&described, Timestamp::from_millis(u64::MAX)).is_ok();
    if fits {
        return Ok(described);
    }
    let why = "it is larger than a bundle can describe".to_owned();
    Err(Fault::State(Damage::Manifest { why }))
}

/// Becomes `export_failed` where the file's name is known.
fn unpackable(what: &str) -> StoreError {
    StoreError::BundleDamaged { what: what.to_owned() }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Storage { detail: error.to_string() })
}

fn part(bytes: &[u8]) -> Part {
    Part { bytes: bytes.len() as u64, blake3: ContentHash::of(bytes) }
}

/// The messages as lines, one in memory at a time.
struct Lines<'s> {
    rows: Rows<'s>,
    now: Timestamp,
    line: Vec<u8>,
    at: usize,
}

impl Lines<'_> {
    /// Goes to the next line; false where there is none.
    fn advance(&mut self) -> Result<bool, StoreError> {
        self.line.clear();
        self.at = 0;
        let Some(row) = self.rows.next()? else { return Ok(false) };
        let form = MessageForm::of(Message::from_row(row)?, self.now)?;
        serde_json::to_writer(&mut self.line, &form)
            .map_err(|error| StoreError::Storage { detail: error.to_string() })?;
        self.line.push(b'\n');
        Ok(true)
    }
}

impl Read for Lines<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() && !self.advance().map_err(io::Error::other)? {
            return Ok(0);
        }
        let read = (&self.line[self.at..]).read(out)?;
        self.at += read;
        Ok(read)
    }
}

struct Hashed<R> {
    inner: R,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.hasher.update(&out[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// A file that gets its name when it is whole, and is gone where it never is. Only its owner may read it.
struct Unfinished(NamedTempFile);

impl Unfinished {
    fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default();
        let file = tempfile::Builder::new().prefix(name).suffix(".part").tempfile_in(folder_of(target))?;
        Ok(Self(file))
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        let file = self.0.as_file_mut();
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0)).map(drop)
    }

    /// Returns its length.
    fn publish(self, target: &Path, overwrite: bool) -> io::Result<u64> {
        let bytes = self.0.as_file().metadata()?.len();
        self.0.as_file().sync_all()?;
        if overwrite {
            self.0.persist(target)?;
        } else {
            self.0.persist_noclobber(target)?;
        }
        sync_dir(folder_of(target))?;
        Ok(bytes)
    }
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_came_meanwhile_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.reprise");
        for (overwrite, kept) in [(false, "precious"), (true, "whole")] {
            let mut unfinished = Unfinished::create(&target).unwrap();
            unfinished.0.write_all(b"whole").unwrap();
            fs::write(&target, "precious").unwrap();
            let published = unfinished.publish(&target, overwrite);
            assert_eq!(published.map_err(|error| error.kind()).ok(), overwrite.then_some(5));
            assert_eq!(fs::read_to_string(&target).unwrap(), kept);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        }
    }
}
