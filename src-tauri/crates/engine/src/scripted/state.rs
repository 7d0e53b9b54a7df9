//! State of a script: a row a token in two regions, told from one another by what is in them.

use std::collections::BTreeMap;

use crate::fault::Fault;
use crate::message::TokenId;
use crate::state::{Fingerprint, ImageId, ImageTable, Pieces, Region, RestoreSpec, Restored, StateTraits};

/// Bytes of a row.
const ROW: usize = 4096;
/// Bytes before each region.
const HEAD: usize = 16;
/// The probe that scripted workers ask.
const PROBE: TokenId = TokenId('?' as i32);

/// What happens at a restore besides what should.
#[derive(Debug, Clone)]
pub enum OnRestore {
    /// Says that all went well, and computes with an empty cache.
    Forget,
    /// Refuses, in these words.
    Refuse(String),
    /// Ends as a killed process does.
    Die,
}

/// Images of a scripted worker, and what its live context holds.
#[derive(Debug, Default)]
pub(super) struct Images {
    next: u64,
    exported: Option<(ImageId, Vec<u8>)>,
    pub(super) received: Option<Vec<u8>>,
}

impl Images {
    pub(super) fn export(&mut self, tokens: &[TokenId]) -> (ImageId, ImageTable) {
        self.next += 1;
        let id = ImageId(self.next);
        self.exported = Some((id, image_of(tokens)));
        (id, table_of(tokens.len()))
    }

    fn image(&self, id: ImageId) -> Result<&[u8], Fault> {
        let found = self.exported.as_ref().filter(|(own, _)| *own == id);
        found.map(|(_, bytes)| bytes.as_slice()).ok_or(Fault::ImageGone)
    }

    pub(super) fn chunk(&self, id: ImageId, pieces: &Pieces) -> Result<Vec<u8>, Fault> {
        let image = self.image(id)?;
        if !pieces.lie_within(image.len() as u64) {
            return Err(Fault::BadPieces { detail: "they reach beyond the image".to_owned() });
        }
        Ok(pieces.spans().flat_map(|(offset, len)| &image[at(offset)..at(offset + len)]).copied().collect())
    }

    pub(super) fn release(&mut self, id: ImageId) {
        self.exported.take_if(|(own, _)| *own == id);
    }

    /// What a restore of the received image sees.
    pub(super) fn restore(&mut self, spec: &RestoreSpec) -> Restored {
        let image = self.received.take().unwrap_or_default();
        let table = table_of(spec.tokens.len());
        let fault = (table != spec.table || image.len() as u64 != table.len)
            .then(|| "the image is not what it was".to_owned());
        let fingerprints = if fault.is_none() { vec![fingerprint(&image)] } else { Vec::new() };
        Restored {
            fault,
            detail: format!("{} bytes", image.len()),
            restore_ms: 1.0,
            fingerprints,
            challenge_ms: 1.0,
        }
    }
}

pub(super) fn scatter(pieces: &Pieces, bytes: &[u8], image: &mut [u8]) {
    let mut from = 0;
    for (offset, len) in pieces.spans() {
        let end = from + at(len);
        image[at(offset)..at(offset + len)].copy_from_slice(&bytes[from..end]);
        from = end;
    }
}

pub(super) fn traits() -> StateTraits {
    StateTraits {
        fields: table_of(0).fields,
        controls: vec![control()],
        class: BTreeMap::from([("device".to_owned(), "script".to_owned())]),
    }
}

/// What is answered by a context that holds nothing.
pub(super) fn control() -> Fingerprint {
    fingerprint(&[])
}

pub(super) fn fingerprint_of(tokens: &[TokenId]) -> Fingerprint {
    fingerprint(&image_of(tokens))
}

fn fingerprint(image: &[u8]) -> Fingerprint {
    let hash = blake3::hash(image);
    let [a, b, ..] = *hash.as_bytes();
    let likeliest = TokenId(i32::from(u16::from_le_bytes([a, b])));
    Fingerprint {
        probe: vec![PROBE],
        hash: hash.to_hex().to_string(),
        log_sum_exp: 0.0,
        top: vec![(likeliest, 0.0)],
        fixed: vec![f32::from(a)],
    }
}

fn table_of(tokens: usize) -> ImageTable {
    let rows = u32::try_from(tokens).unwrap_or(u32::MAX);
    let region = |index: usize| Region {
        offset: (HEAD + index * (HEAD + tokens * ROW)) as u64,
        row: ROW as u64,
        rows,
    };
    ImageTable {
        len: (2 * (HEAD + tokens * ROW)) as u64,
        regions: if tokens == 0 { Vec::new() } else { vec![region(0), region(1)] },
        fields: BTreeMap::from([("image.rows".to_owned(), format!("script {ROW}"))]),
    }
}

fn image_of(tokens: &[TokenId]) -> Vec<u8> {
    let mut image = Vec::new();
    for kind in [b'K', b'V'] {
        image.extend([kind; HEAD]);
        for (position, token) in tokens.iter().enumerate() {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&[kind]).update(&token.0.to_le_bytes()).update(&position.to_le_bytes());
            let mut row = [0; ROW];
            hasher.finalize_xof().fill(&mut row);
            image.extend(row);
        }
    }
    image
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
