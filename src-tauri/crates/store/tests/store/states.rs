//! Made-up states, laid out as real ones are: a head that changes with every token, then regions of rows
//! with a short head each. A row depends on all tokens up to its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use reprise_store::{
    Begun, Budget, CHUNK_TARGET, ChunkHash, ChunkSpec, ConversationId, Damage, HistoryWriter, Layout,
    Manifest, NewSnapshot, NodeId, Region, Saved, SnapshotId, SnapshotOpening, SnapshotReader, SnapshotStore,
    Split, StoreError, gather, scatter,
};
use serde_json::json;

use crate::support::tick;

pub const KEY: [u8; 32] = [7; 32];

/// Bytes of a row of each region, by turns.
const ROWS: [u64; 2] = [1_200, 848];

/// A state of about 65 KB for every 8 tokens: blocks of 128 rows weigh 1 MB.
pub struct State {
    pub tokens: Vec<i32>,
    pub layout: Layout,
    pub image: Vec<u8>,
    /// Bytes that a chunk is to weigh at most.
    pub target: u64,
}

impl State {
    /// `seed` makes conversations that have nothing in common.
    pub fn new(seed: u32, n_tokens: u32) -> Self {
        Self::of((0..n_tokens).map(|n| (seed * 100_000 + n).cast_signed()).collect())
    }

    pub fn of(tokens: Vec<i32>) -> Self {
        let rows = u32::try_from(tokens.len()).unwrap();
        let mut len = 16 + 12 * u64::from(rows);
        let mut regions = Vec::new();
        for row in ROWS.into_iter().cycle().take(8) {
            let offset = len + 12;
            regions.push(Region { offset, row, rows });
            len = offset + row * u64::from(rows);
        }
        let layout = Layout { len, regions };
        let mut image = vec![0; usize::try_from(len).unwrap()];
        fill(&mut image, &[b"head", &rows.to_le_bytes()]);
        let mut so_far = blake3::Hasher::new();
        for (n, token) in tokens.iter().enumerate() {
            so_far.update(&token.to_le_bytes());
            let so_far = so_far.finalize();
            for (place, region) in layout.regions.iter().enumerate() {
                let at = usize::try_from(region.offset + region.row * n as u64).unwrap();
                let row = &mut image[at..at + usize::try_from(region.row).unwrap()];
                fill(row, &[so_far.as_bytes(), &place.to_le_bytes()]);
            }
        }
        Self { tokens, layout, image, target: CHUNK_TARGET }
    }

    /// The state after more tokens.
    pub fn longer(&self, more: u32) -> Self {
        let next = u32::try_from(self.tokens.len()).unwrap();
        let mut tokens = self.tokens.clone();
        tokens.extend((next..next + more).map(|n| self.tokens[0] + n.cast_signed()));
        Self::of(tokens)
    }

    /// The same in smaller chunks, for tests that need many of few bytes.
    pub fn in_small_chunks(self) -> Self {
        Self { target: 32_768, ..self }
    }

    /// Its chunks: what each is, its name, its bytes.
    pub fn chunks(&self) -> Vec<(ChunkSpec, ChunkHash, Vec<u8>)> {
        let chunk = |spec: ChunkSpec| {
            let mut bytes = Vec::new();
            gather(&spec, &self.layout, &self.image, &mut bytes).unwrap();
            (spec, ChunkHash::of(&bytes), bytes)
        };
        Split::with_target(&self.layout, self.target).unwrap().chunks.into_iter().map(chunk).collect()
    }

    pub fn snapshot(&self, conversation: ConversationId) -> NewSnapshot {
        let created = tick();
        NewSnapshot {
            id: SnapshotId::new(created, u128::from(created.as_millis())),
            conversation,
            node: NodeId::new(created, 3),
            identity: identity(),
            tokens: self.tokens.clone(),
            layout: self.layout.clone(),
            chunks: self.chunks().into_iter().map(|(spec, hash, _)| (spec, hash)).collect(),
            image_hash: None,
            challenge: json!({"top": [[5, 1.25], [9, 0.5]]}),
            facts: json!({"device": "cpu"}),
            created,
            supersede: Vec::new(),
        }
    }
}

fn fill(out: &mut [u8], name: &[&[u8]]) {
    let mut hasher = blake3::Hasher::new();
    for part in name {
        hasher.update(part);
    }
    hasher.finalize_xof().fill(out);
}

pub fn identity() -> BTreeMap<String, String> {
    [("model", "abc"), ("engine", "b1"), ("n_ctx", "4096")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

/// A disk without end.
pub fn budget(bytes: u64) -> Budget {
    Budget { bytes, keep_free: 0, free_disk: Arc::new(|| Some(u64::MAX)) }
}

pub const ROOMY: u64 = 1_000_000_000;

pub fn open(writer: &HistoryWriter) -> SnapshotStore {
    open_saying(writer).0
}

pub fn open_saying(writer: &HistoryWriter) -> (SnapshotStore, SnapshotOpening) {
    SnapshotStore::open(writer, budget(ROOMY), KEY, tick()).unwrap()
}

pub fn save(store: &mut SnapshotStore, conversation: ConversationId, state: &State) -> Saved {
    try_save(store, state, &state.snapshot(conversation)).unwrap()
}

/// Saves as the app does: asks, puts what is missing, commits.
pub fn try_save(store: &mut SnapshotStore, state: &State, new: &NewSnapshot) -> Result<Saved, StoreError> {
    let Begun::Save(mut save) = store.begin_save(state.layout.len)? else {
        panic!("too large");
    };
    for chunks in state.chunks().chunks(3) {
        let hashes: Vec<ChunkHash> = chunks.iter().map(|(_, hash, _)| *hash).collect();
        let missing = store.missing(&mut save, &hashes)?;
        let batch: Vec<(ChunkHash, &[u8])> = chunks
            .iter()
            .zip(missing)
            .filter(|(_, missing)| *missing)
            .map(|((_, hash, bytes), _)| (*hash, bytes.as_slice()))
            .collect();
        store.put_chunks(&mut save, &batch)?;
    }
    store.commit(save, new)
}

/// Reads a snapshot back whole.
pub fn restore(reader: &SnapshotReader, id: SnapshotId) -> Result<(Manifest, Vec<u8>), Damage> {
    let manifest = reader.manifest(id)?;
    let mut image = vec![0; usize::try_from(manifest.layout.len).unwrap()];
    let mut bytes = Vec::new();
    for (chunk, read) in manifest.chunks.iter().zip(manifest.to_read()) {
        reader.read_chunk(&read, &mut bytes)?;
        scatter(&chunk.spec, &manifest.layout, &bytes, &mut image).unwrap();
    }
    Ok((manifest, image))
}

/// Whether the snapshot is the state, byte for byte.
#[track_caller]
pub fn assert_is(reader: &SnapshotReader, id: SnapshotId, state: &State) {
    let (manifest, image) = restore(reader, id).unwrap();
    assert_eq!(manifest.tokens, state.tokens);
    assert_eq!(manifest.layout, state.layout);
    assert!(image == state.image, "the image differs");
}

/// Everything is whole, and nothing is left over.
#[track_caller]
pub fn assert_clean(reader: &SnapshotReader) {
    let report = reader.verify(|_| std::ops::ControlFlow::Continue(())).unwrap();
    assert!(report.is_ok() && report.orphans == 0, "{report:?}");
}

/// A conversation of its own.
pub fn conversation(n: u32) -> ConversationId {
    ConversationId::new(reprise_store::Timestamp::from_millis(u64::from(n)), u128::from(n))
}
