//! Reading a bundle, of which nothing is believed: each entry is the one that has to come next, of the length
//! and the hash that were announced, or the reading ends.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tar::{Archive, Entries, Entry, EntryType};

use crate::bundle::form::{
    ConversationForm, Header, MessageForm, ModelForm, PackedState, Part, StateForm, damaged, state_damaged,
};
use crate::bundle::{
    CONVERSATION, CONVERSATION_LIMIT, HEADER, HEADER_LIMIT, MESSAGE_LIMIT, MESSAGES, STATE, chunk_name,
};
use crate::{ChunkHash, ContentHash, ConversationId, Message, StoreError, Timestamp};

/// Bytes of a file that tell whether it is an export as JSON.
const JSON_BEGINNING: usize = 256;

type Source = BufReader<File>;

/// A file that may be a bundle.
pub struct BundleFile {
    archive: Archive<Source>,
    path: PathBuf,
    bytes: u64,
}

/// What a bundle holds: its text first, then its state, both to be read once and in this order.
pub struct BundleContents<'a> {
    reader: Reader<'a>,
    header: Header,
    pub(crate) conversation: ConversationForm,
    /// The chunks that are still to come, the next one last.
    chunks: Vec<(ChunkHash, u64)>,
}

impl fmt::Debug for BundleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for BundleContents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleContents").field("header", &self.header).finish_non_exhaustive()
    }
}

impl BundleFile {
    /// Opens a file. A pipe or a device would keep whoever reads it waiting, and is refused.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let unreadable = |why: String| StoreError::FileUnreadable { path: path.to_owned(), why };
        let failed = |error: io::Error| unreadable(error.to_string());
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(unreadable("it is no file".to_owned()));
        }
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let mut source = BufReader::with_capacity(1 << 18, file);
        let beginning = source.fill_buf().map_err(failed)?;
        if beginning.is_empty() {
            return Err(StoreError::NotABundle { why: "it is empty" });
        }
        if is_json_export(&beginning[..beginning.len().min(JSON_BEGINNING)]) {
            let why = "it is an export as JSON, which holds the texts, but not all that belongs to them";
            return Err(StoreError::NotABundle { why });
        }
        Ok(Self { archive: Archive::new(source), path: path.to_owned(), bytes })
    }

    /// Reads what the bundle says of itself and of the conversation. To be called once.
    pub fn contents(&mut self, now: Timestamp) -> Result<BundleContents<'_>, StoreError> {
        let Self { archive, path, bytes } = self;
        let other = StoreError::NotABundle { why: "it is another kind of file" };
        // Raw: extensions, which could rename or enlarge an entry, are entries like any other, and refused.
        let Ok(entries) = archive.entries() else { return Err(other) };
        let mut reader = Reader { entries: entries.raw(true), path, bytes: *bytes };
        let mut first = match reader.entries.next() {
            Some(Ok(entry)) if is_named(&entry, HEADER) => entry,
            _ => return Err(other),
        };
        let header = reader
            .check(&first, HEADER, None)
            .and_then(
                |bytes| if bytes > HEADER_LIMIT { wrong("its beginning is too long") } else { Ok(bytes) },
            )
            .and_then(|bytes| reader.all(&mut first, bytes))
            .map_err(|flaw| reader.in_text(flaw))?;
        let header = Header::parse(&header)?;
        if header.conversation.bytes > CONVERSATION_LIMIT {
            return Err(damaged("what it says of the conversation is too long"));
        }
        let conversation =
            reader.part(CONVERSATION, header.conversation).map_err(|flaw| reader.in_text(flaw))?;
        let conversation = ConversationForm::parse(&conversation, now)?;
        Ok(BundleContents { reader, header, conversation, chunks: Vec::new() })
    }
}

/// Whether this is how [`crate`]'s users write a conversation as JSON.
fn is_json_export(beginning: &[u8]) -> bool {
    let text = String::from_utf8_lossy(beginning);
    text.trim_start().starts_with('{') && text.contains("\"conversation\"")
}

impl BundleContents<'_> {
    /// Version of the program that wrote it, as it says.
    #[must_use]
    pub fn product(&self) -> &str {
        &self.header.product
    }

    /// The id that the conversation had where it comes from.
    #[must_use]
    pub fn conversation(&self) -> ConversationId {
        self.conversation.id
    }

    /// Name and content hash of the model that the conversation was last used with.
    #[must_use]
    pub fn model(&self) -> Option<(&str, Option<ContentHash>)> {
        self.conversation.model.as_ref().map(|ModelForm { name, blake3 }| (name.as_str(), *blake3))
    }

    /// Whether it says that a state follows.
    #[must_use]
    pub fn has_state(&self) -> bool {
        self.header.state.is_some()
    }

    /// Hands out the messages, of `conversation`, one after the other. Only when this returns are they known
    /// to be all of what was written. Returns how many there were.
    pub(crate) fn each_message(
        &mut self,
        conversation: ConversationId,
        now: Timestamp,
        mut take: impl FnMut(Message) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let Self { reader, header, .. } = self;
        let entry = reader.next(MESSAGES, header.messages.bytes).map_err(|flaw| reader.in_text(flaw))?;
        let mut lines = BufReader::with_capacity(1 << 16, entry);
        let mut hasher = blake3::Hasher::new();
        let mut line = Vec::new();
        let (mut bytes, mut count) = (0, 0);
        loop {
            line.clear();
            let read = (&mut lines).take(MESSAGE_LIMIT as u64 + 1).read_until(b'\n', &mut line);
            let read = read.map_err(|error| reader.in_text(error.into()))?;
            if read == 0 {
                break;
            }
            hasher.update(&line);
            bytes += read as u64;
            count += 1;
            if count > header.message_count {
                return Err(damaged("it holds more messages than it says"));
            }
            if line.pop() != Some(b'\n') {
                return Err(damaged("a message is too long or cut short"));
            }
            take(MessageForm::parse(&line, conversation, now)?)?;
        }
        let whole = Part { bytes, blake3: ContentHash::from_bytes(*hasher.finalize().as_bytes()) };
        if whole != header.messages || count != header.message_count {
            return Err(damaged("its messages are not those that were written"));
        }
        if header.state.is_none() {
            reader.end().map_err(|flaw| reader.in_text(flaw))?;
        }
        Ok(count)
    }

    /// The description of the state, once the messages were read; `None` where none follows.
    pub fn state(&mut self, now: Timestamp) -> Result<Option<PackedState>, StoreError> {
        let Some(part) = self.header.state else { return Ok(None) };
        let json = self.reader.part(STATE, part).map_err(Flaw::in_state)?;
        let state = StateForm::parse(&json, now)?;
        self.chunks = state.entries()?;
        self.chunks.reverse();
        Ok(Some(state))
    }

    /// Reads the next chunk of the state into `chunk`, whose memory is used again, and compares it with its
    /// hash. `None` when all were there, and nothing else.
    pub fn next_chunk(&mut self, chunk: &mut Vec<u8>) -> Result<Option<ChunkHash>, StoreError> {
        chunk.clear();
        let Some((hash, bytes)) = self.chunks.pop() else {
            self.reader.end().map_err(Flaw::in_state)?;
            return Ok(None);
        };
        let mut entry = self.reader.next(&chunk_name(&hash), bytes).map_err(Flaw::in_state)?;
        self.reader.fill(&mut entry, bytes, chunk).map_err(Flaw::in_state)?;
        if ChunkHash::of(chunk) != hash {
            chunk.clear();
            return Err(state_damaged("a piece of it is not what was written"));
        }
        Ok(Some(hash))
    }
}

/// What is wrong with an entry.
enum Flaw {
    /// It cannot be read.
    Io(io::Error),
    /// It is not what has to come.
    Wrong(String),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Flaw {
    fn in_state(self) -> StoreError {
        state_damaged(match self {
            Self::Io(error) => in_words(&error),
            Self::Wrong(what) => what,
        })
    }
}

/// The archive's own complaints come as errors of reading, too.
fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => format!("the file cannot be read ({error})"),
        None => "it ends too early, or is no archive any more".to_owned(),
    }
}

fn wrong<T>(what: &str) -> Result<T, Flaw> {
    Err(Flaw::Wrong(what.to_owned()))
}

fn is_named(entry: &Entry<'_, Source>, name: &str) -> bool {
    *entry.path_bytes() == *name.as_bytes()
}

/// The entries, one after the other.
struct Reader<'a> {
    entries: Entries<'a, Source>,
    path: &'a Path,
    /// Of the file.
    bytes: u64,
}

impl<'a> Reader<'a> {
    fn in_text(&self, flaw: Flaw) -> StoreError {
        match flaw {
            Flaw::Io(error) if error.raw_os_error().is_some() => {
                StoreError::FileUnreadable { path: self.path.to_owned(), why: error.to_string() }
            }
            Flaw::Io(error) => damaged(in_words(&error)),
            Flaw::Wrong(what) => damaged(what),
        }
    }

    /// The next entry, if it is this one.
    fn next(&mut self, name: &str, bytes: u64) -> Result<Entry<'a, Source>, Flaw> {
        let Some(entry) = self.entries.next().transpose()? else {
            return wrong("it ends too early");
        };
        self.check(&entry, name, Some(bytes))?;
        Ok(entry)
    }

    /// Refuses an entry of another name, kind or length before anything of it is read. Returns its length.
    fn check(&self, entry: &Entry<'_, Source>, name: &str, bytes: Option<u64>) -> Result<u64, Flaw> {
        if entry.header().entry_type() != EntryType::Regular || !is_named(entry, name) {
            return wrong("something stands in it that does not belong there");
        }
        let stated = entry.size();
        if bytes.is_some_and(|bytes| bytes != stated) {
            return wrong("a part of it has another length than it says");
        }
        // The file ends before the entry could.
        if entry.raw_file_position().checked_add(stated).is_none_or(|end| end > self.bytes) {
            return wrong("it ends too early");
        }
        Ok(stated)
    }

    /// An entry that was announced. Its length is to be checked against a limit before.
    fn part(&mut self, name: &str, part: Part) -> Result<Vec<u8>, Flaw> {
        let mut entry = self.next(name, part.bytes)?;
        let bytes = self.all(&mut entry, part.bytes)?;
        if ContentHash::of(&bytes) != part.blake3 {
            return wrong("a part of it is not what was written");
        }
        Ok(bytes)
    }

    fn all(&self, entry: &mut Entry<'_, Source>, bytes: u64) -> Result<Vec<u8>, Flaw> {
        let mut all = Vec::new();
        self.fill(entry, bytes, &mut all)?;
        Ok(all)
    }

    fn fill(&self, entry: &mut Entry<'_, Source>, bytes: u64, into: &mut Vec<u8>) -> Result<(), Flaw> {
        // Never more than the file has, which was compared before.
        into.reserve(usize::try_from(bytes.min(self.bytes)).unwrap_or_default());
        if entry.read_to_end(into)? as u64 != bytes {
            return wrong("it ends too early");
        }
        Ok(())
    }

    /// Refuses anything that is left.
    fn end(&mut self) -> Result<(), Flaw> {
        match self.entries.next() {
            None => Ok(()),
            Some(_) => wrong("something stands in it that does not belong there"),
        }
    }
}
