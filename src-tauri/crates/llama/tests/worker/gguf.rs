//! Reads and edits GGUF files: the header and the metadata are written anew, tensor data is copied.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, version 3, little endian.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

pub const STRING: u32 = 8;
pub const ARRAY: u32 = 9;
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// The part of a file before its tensor data.
pub struct Gguf {
    pub version: u32,
    pub n_tensors: u64,
    /// Name, type, and the value as it stands in the file.
    pub entries: Vec<(String, u32, Vec<u8>)>,
    pub tensor_infos: Vec<u8>,
    /// Where the tensor data begins in the file that was read.
    pub data_start: u64,
    /// Where in that file the header, the metadata and the tensor infos end.
    pub ends: [u64; 3],
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        self.at += n;
        &self.bytes[self.at - n..self.at]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn string(&mut self) -> &'a [u8] {
        let length = self.u64();
        self.take(usize::try_from(length).unwrap())
    }

    fn skip_value(&mut self, kind: u32) {
        match kind {
            STRING => drop(self.string()),
            ARRAY => {
                let (kind, count) = (self.u32(), self.u64());
                (0..count).for_each(|_| self.skip_value(kind));
            }
            0 | 1 | 7 => drop(self.take(1)),
            2 | 3 => drop(self.take(2)),
            4..=6 => drop(self.take(4)),
            10..=12 => drop(self.take(8)),
            _ => panic!("value type {kind}"),
        }
    }
}

impl Gguf {
    pub fn read(path: &Path) -> Self {
        let mut bytes = Vec::new();
        // Ample for the metadata of the test models.
        File::open(path).unwrap().take(16 << 20).read_to_end(&mut bytes).unwrap();
        let mut cursor = Cursor { bytes: &bytes, at: 0 };
        assert_eq!(cursor.take(4), b"GGUF");
        let version = cursor.u32();
        let (n_tensors, n_entries) = (cursor.u64(), cursor.u64());
        let header = cursor.at as u64;
        let mut entries = Vec::new();
        for _ in 0..n_entries {
            let name = String::from_utf8(cursor.string().to_vec()).unwrap();
            let kind = cursor.u32();
            let from = cursor.at;
            cursor.skip_value(kind);
            entries.push((name, kind, bytes[from..cursor.at].to_vec()));
        }
        let metadata = cursor.at;
        for _ in 0..n_tensors {
            cursor.string();
            let dimensions = cursor.u32() as usize;
            cursor.take(8 * dimensions + 4 + 8);
        }
        let mut gguf = Self {
            version,
            n_tensors,
            entries,
            tensor_infos: bytes[metadata..cursor.at].to_vec(),
            data_start: 0,
            ends: [header, metadata as u64, cursor.at as u64],
        };
        gguf.data_start = (cursor.at as u64).next_multiple_of(gguf.alignment());
        gguf
    }

    fn alignment(&self) -> u64 {
        self.value("general.alignment")
            .map_or(DEFAULT_ALIGNMENT, |value| u64::from(u32::from_le_bytes(value.try_into().unwrap())))
    }

    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.entries.iter().find(|(known, ..)| known == name).map(|(.., value)| &value[..])
    }

    pub fn set(&mut self, name: &str, kind: u32, value: Vec<u8>) {
        self.remove(name);
        self.entries.push((name.to_owned(), kind, value));
    }

    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|(known, ..)| known != name);
    }

    pub fn set_string(&mut self, name: &str, value: &str) {
        self.set(name, STRING, string(value.as_bytes()));
    }

    pub fn set_u32(&mut self, name: &str, value: u32) {
        self.set(name, 4, value.to_le_bytes().to_vec());
    }

    pub fn set_bool(&mut self, name: &str, value: bool) {
        self.set(name, 7, vec![u8::from(value)]);
    }

    /// An array of strings, such as the vocabulary.
    pub fn strings(&self, name: &str) -> Vec<Vec<u8>> {
        let mut cursor = Cursor { bytes: self.value(name).unwrap(), at: 0 };
        assert_eq!(cursor.u32(), STRING);
        (0..cursor.u64()).map(|_| cursor.string().to_vec()).collect()
    }

    pub fn set_strings(&mut self, name: &str, values: &[Vec<u8>]) {
        let mut bytes = STRING.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        for value in values {
            bytes.extend(string(value));
        }
        self.set(name, ARRAY, bytes);
    }

    /// Everything up to the tensor data, padded as it must be.
    pub fn head(&self) -> Vec<u8> {
        let mut head = b"GGUF".to_vec();
        head.extend(self.version.to_le_bytes());
        head.extend(self.n_tensors.to_le_bytes());
        head.extend((self.entries.len() as u64).to_le_bytes());
        for (name, kind, value) in &self.entries {
            head.extend(string(name.as_bytes()));
            head.extend(kind.to_le_bytes());
            head.extend(value);
        }
        head.extend(&self.tensor_infos);
        let padded = (head.len() as u64).next_multiple_of(self.alignment());
        head.resize(usize::try_from(padded).unwrap(), 0);
        head
    }

    /// Writes the edited file, with the tensor data of `from`, the file that was read.
    pub fn write(&self, from: &Path, to: &Path) {
        let mut source = File::open(from).unwrap();
        source.seek(SeekFrom::Start(self.data_start)).unwrap();
        let mut target = File::create(to).unwrap();
        target.write_all(&self.head()).unwrap();
        io::copy(&mut source, &mut target).unwrap();
    }
}

/// A file that begins like this and goes on with nothing to its full length: the header counts, and no
/// disk is filled.
pub fn write_hollow(head: &[u8], length: u64, to: &Path) {
    fs::write(to, head).unwrap();
    let file = File::options().write(true).open(to).unwrap();
    file.set_len(length).unwrap();
}

pub fn string(value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u64).to_le_bytes().to_vec();
    bytes.extend(value);
    bytes
}

/// What the tokens of a byte-level vocabulary (GPT-2's) spell, found out without llama.cpp.
pub struct Spelling {
    pieces: Vec<Vec<u8>>,
}

impl Spelling {
    pub fn of(gguf: &Gguf) -> Self {
        let letters = byte_letters();
        let pieces = gguf.strings("tokenizer.ggml.tokens");
        let byte_of = |letter: char| letters.iter().position(|known| *known == letter);
        let spell = |piece: Vec<u8>| {
            let text = String::from_utf8(piece).unwrap();
            let bytes: Option<Vec<u8>> =
                text.chars().map(|letter| byte_of(letter).and_then(|byte| u8::try_from(byte).ok())).collect();
            bytes.unwrap_or_else(|| text.into_bytes())
        };
        Self { pieces: pieces.into_iter().map(spell).collect() }
    }

    pub fn of_tokens(&self, tokens: &[i32]) -> Vec<u8> {
        tokens.iter().flat_map(|token| &self.pieces[usize::try_from(*token).unwrap()]).copied().collect()
    }

    /// The token that spells exactly this.
    pub fn token(&self, bytes: &[u8]) -> i32 {
        let found = self.pieces.iter().position(|piece| piece == bytes);
        i32::try_from(found.expect("a piece of the vocabulary")).unwrap()
    }
}

/// The letter that stands for each byte in such a vocabulary (GPT-2's `bytes_to_unicode`).
pub fn byte_letters() -> Vec<char> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 256;
    (0..256)
        .map(|byte| {
            let letter = if printable(byte) {
                byte
            } else {
                next += 1;
                next - 1
            };
            char::from_u32(letter).unwrap()
        })
        .collect()
}
