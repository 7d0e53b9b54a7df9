//! Bundles taken apart and put together byte by byte, so that they can be made wrong in every way. This reads
//! and writes tar by itself: what checks the reader must not be the reader.

use std::ops::Range;

const BLOCK: usize = 512;

/// An entry: its header as it stands there, and its bytes.
#[derive(Debug, Clone)]
pub struct Entry {
    pub header: Vec<u8>,
    pub data: Vec<u8>,
}

impl Entry {
    pub fn new(name: &str, data: &[u8]) -> Self {
        let mut header = vec![0; BLOCK];
        header[257..265].copy_from_slice(b"ustar\x0000");
        let mut entry = Self { header, data: data.to_owned() };
        entry.put(100..108, "0000600");
        entry.put(108..116, "0000000");
        entry.put(116..124, "0000000");
        entry.put(136..148, "00000000000");
        entry.header[156] = b'0';
        entry.named(name).sized(data.len() as u64)
    }

    pub fn name(&self) -> String {
        let end = self.header[..100].iter().position(|byte| *byte == 0).unwrap_or(100);
        String::from_utf8(self.header[..end].to_vec()).unwrap()
    }

    fn put(&mut self, at: Range<usize>, text: &str) {
        self.header[at.clone()].fill(0);
        self.header[at.start..at.start + text.len()].copy_from_slice(text.as_bytes());
    }

    pub fn named(mut self, name: &str) -> Self {
        self.put(0..100, name);
        self.summed()
    }

    /// Another kind: `5` a folder, `2` a link, `3` a device, `L` a long name of what follows.
    pub fn of_kind(mut self, kind: u8) -> Self {
        self.header[156] = kind;
        self.summed()
    }

    pub fn linked_to(mut self, target: &str) -> Self {
        self.put(157..257, target);
        self.summed()
    }

    /// Says that it is so long, whatever it is. Beyond eleven octal digits as GNU tar does, in binary.
    pub fn sized(mut self, bytes: u64) -> Self {
        if bytes < 1 << 33 {
            self.put(124..136, &format!("{bytes:011o}"));
        } else {
            self.header[124..136].fill(0);
            self.header[124] = 0x80;
            self.header[128..136].copy_from_slice(&bytes.to_be_bytes());
        }
        self.summed()
    }

    fn summed(mut self) -> Self {
        self.header[148..156].fill(b' ');
        let sum: u32 = self.header.iter().map(|byte| u32::from(*byte)).sum();
        self.put(148..156, &format!("{sum:06o}\0 "));
        self.header[155] = b' ';
        self
    }
}

pub fn entries(archive: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = 0;
    while archive[at] != 0 {
        let header = archive[at..at + BLOCK].to_vec();
        let size = std::str::from_utf8(&header[124..135]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        at += BLOCK;
        entries.push(Entry { header, data: archive[at..at + size].to_vec() });
        at += size.next_multiple_of(BLOCK);
    }
    entries
}

pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in entries {
        all.extend_from_slice(&entry.header);
        all.extend_from_slice(&entry.data);
        all.resize(all.len().next_multiple_of(BLOCK), 0);
    }
    all.resize(all.len() + 2 * BLOCK, 0);
    all
}

/// Where each entry begins and its bytes end, without what fills up its last block.
pub fn places(entries: &[Entry]) -> Vec<Range<usize>> {
    let mut at = 0;
    entries
        .iter()
        .map(|entry| {
            let place = at..at + BLOCK + entry.data.len();
            at = place.end.next_multiple_of(BLOCK);
            place
        })
        .collect()
}
