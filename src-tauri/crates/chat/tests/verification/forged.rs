//! Snapshots that somebody changed who has the key: hashed and sealed anew, so that the first check passes.
//! Whatever becomes of them, the app lives, every message stays, and nothing is restored that computes
//! otherwise than at saving.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use reprise_chat::history::{DataDir, Holder, Timestamp};
use reprise_chat::{Ask, ResumePath};
use reprise_engine::process::EngineFolder;
use reprise_engine::{EngineHandle, Limits};
use reprise_store::{
    Begun, Budget, ChunkHash, ChunkSpec, History, Layout, Manifest, NewSnapshot, SnapshotId, SnapshotReader,
    SnapshotStore, gather, scatter,
};
use serde_json::{Value, json};

use crate::folder::{Folder, go_on};
use crate::rig::{Dice, full, needed, story};

/// What is changed: first what the computation reads.
const KINDS: [&str; 16] = [
    "bits_of_rows",
    "bytes_of_rows",
    "a_layer_of_zeros",
    "two_chunks_swapped",
    "rows_of_noise",
    // ── from here on what describes the rows
    "bytes_between_rows",
    "extreme_numbers_between_rows",
    "cut_short",
    "longer",
    "another_token",
    "a_token_less",
    "a_token_more",
    "other_regions",
    "answers",
    "class",
    "identity",
];
/// Those after which no computation can answer alike.
const FAR: [&str; 3] = ["a_layer_of_zeros", "two_chunks_swapped", "rows_of_noise"];

/// A snapshot taken apart.
struct Parts {
    manifest: Manifest,
    image: Vec<u8>,
    chunks: Vec<ChunkSpec>,
}

impl Parts {
    fn read(dir: &DataDir) -> Self {
        let reader = SnapshotReader::open(dir).unwrap();
        let id = reader.list().unwrap()[0].id;
        let manifest = reader.manifest(id).unwrap();
        let mut image = vec![0; usize::try_from(manifest.layout.len).unwrap()];
        let mut bytes = Vec::new();
        for (piece, chunk) in manifest.to_read().zip(&manifest.chunks) {
            reader.read_chunk(&piece, &mut bytes).unwrap();
            scatter(&chunk.spec, &manifest.layout, &bytes, &mut image).unwrap();
        }
        let chunks = manifest.chunks.iter().map(|chunk| chunk.spec.clone()).collect();
        Self { manifest, image, chunks }
    }

    /// A byte of a row, or of what is no row.
    fn place(&self, dice: &mut Dice, in_rows: bool) -> usize {
        let rows = |at: u64| {
            let regions = &self.manifest.layout.regions;
            regions.iter().any(|r| (r.offset..r.offset + r.row * u64::from(r.rows)).contains(&at))
        };
        // What is no row lies before the first one, and a few bytes between any two.
        let end = if in_rows { self.image.len() } else { self.between() };
        loop {
            let at = dice.below(end);
            if rows(at as u64) == in_rows {
                return at;
            }
        }
    }

    fn between(&self) -> usize {
        usize::try_from(self.manifest.layout.regions[0].offset).unwrap()
    }

    /// Cuts what is there anew, as an image that nothing is known of.
    fn opaque(&mut self) {
        self.manifest.layout = Layout::opaque(self.image.len() as u64);
        self.chunks = reprise_store::Split::of(&self.manifest.layout).unwrap().chunks;
    }

    fn forge(&mut self, kind: &str, dice: &mut Dice) {
        match kind {
            "bits_of_rows" => {
                let at = self.place(dice, true);
                self.image[at] ^= 1 << dice.below(8);
            }
            "bytes_of_rows" => (0..=dice.below(64)).for_each(|_| {
                let at = self.place(dice, true);
                self.image[at] = u8::try_from(dice.below(256)).unwrap();
            }),
            "a_layer_of_zeros" => {
                let regions = &self.manifest.layout.regions;
                let region = regions[dice.below(regions.len())];
                let from = usize::try_from(region.offset).unwrap();
                let len = usize::try_from(region.row * u64::from(region.rows)).unwrap();
                self.image[from..from + len].fill(0);
            }
            "two_chunks_swapped" => {
                let rows: Vec<usize> = (0..self.chunks.len())
                    .filter(|index| matches!(self.chunks[*index], ChunkSpec::Rows { .. }))
                    .collect();
                let (a, b) = (rows[dice.below(rows.len() / 2)], rows[rows.len() / 2]);
                let layout = &self.manifest.layout;
                let (mut left, mut right) = (Vec::new(), Vec::new());
                gather(&self.chunks[a], layout, &self.image, &mut left).unwrap();
                gather(&self.chunks[b], layout, &self.image, &mut right).unwrap();
                if left.len() == right.len() {
                    scatter(&self.chunks[a], layout, &right, &mut self.image).unwrap();
                    scatter(&self.chunks[b], layout, &left, &mut self.image).unwrap();
                }
            }
            "rows_of_noise" => {
                let region = self.manifest.layout.regions[dice.below(self.manifest.layout.regions.len())];
                let row = dice.below(region.rows as usize) as u64;
                let from = usize::try_from(region.offset + region.row * row).unwrap();
                for byte in &mut self.image[from..from + usize::try_from(region.row).unwrap()] {
                    *byte = u8::try_from(dice.below(256)).unwrap();
                }
            }
            "bytes_between_rows" => (0..=dice.below(4)).for_each(|_| {
                let at = self.place(dice, false);
                self.image[at] ^= u8::try_from(1 + dice.below(255)).unwrap();
            }),
            "extreme_numbers_between_rows" => {
                let at = dice.below(self.between() / 4) * 4;
                let number = [0, 1, u32::MAX, 1 << 31, 0x7fff_ffff, 1 << 20][dice.below(6)];
                self.image[at..at + 4].copy_from_slice(&number.to_le_bytes());
            }
            "cut_short" => {
                let len = self.image.len();
                self.image.truncate(len - 1 - dice.below(len - 64));
                self.opaque();
            }
            "longer" => {
                self.image.extend((0..=dice.below(5000)).map(|n| u8::try_from(n % 251).unwrap()));
                self.opaque();
            }
            "another_token" => {
                // Beyond what is compared with the prompt's beginning at least once.
                let last = self.manifest.tokens.len() - 1;
                let at = last - dice.below(8);
                self.manifest.tokens[at] = [0, -1, i32::MAX, 17][dice.below(4)];
            }
            "a_token_less" => drop(self.manifest.tokens.pop()),
            "a_token_more" => self.manifest.tokens.push([5, -7, i32::MAX][dice.below(3)]),
            "other_regions" => {
                let regions = &mut self.manifest.layout.regions;
                let keep = dice.below(regions.len());
                regions.truncate(keep);
                self.chunks = reprise_store::Split::of(&self.manifest.layout).unwrap().chunks;
            }
            "answers" => self.forge_answers(dice),
            "class" => {
                self.manifest.challenge["class"]["threads"] = json!(dice.below(64).to_string());
            }
            "identity" => {
                let names: Vec<String> = self.manifest.identity.keys().cloned().collect();
                let name = names[dice.below(names.len())].clone();
                self.manifest.identity.insert(name, "forged".to_owned());
            }
            other => panic!("{other}"),
        }
    }

    fn forge_answers(&mut self, dice: &mut Dice) {
        let answers = &mut self.manifest.challenge["fingerprints"];
        let which = dice.below(2);
        match dice.below(6) {
            0 => answers[which]["hash"] = json!("0".repeat(64)),
            1 => answers[which]["log_sum_exp"] = json!(-1e300),
            2 => answers[which]["top"] = json!([]),
            3 => answers[which]["probe"] = json!([i32::MAX]),
            4 => *answers = json!([]),
            _ => self.manifest.challenge = Value::String("no answers at all".to_owned()),
        }
    }

    /// Hashes and seals it, in place of the one that was taken apart.
    fn seal(self, dir: &DataDir) {
        let holder = Holder::this_process("the forger", Timestamp::from_millis(1));
        let writer = History::open_writer(dir, &holder).unwrap();
        let budget = Budget { bytes: 1 << 34, keep_free: 0, free_disk: Arc::new(|| None) };
        let (mut store, _) =
            SnapshotStore::open(&writer, budget, [7; 32], Timestamp::from_millis(2)).unwrap();
        let Parts { manifest, image, chunks } = self;
        let mut pieces = Vec::new();
        for spec in &chunks {
            let mut bytes = Vec::new();
            gather(spec, &manifest.layout, &image, &mut bytes).unwrap();
            pieces.push((ChunkHash::of(&bytes), bytes));
        }
        let Begun::Save(mut save) = store.begin_save(image.len() as u64).unwrap() else { panic!("no room") };
        let hashes: Vec<ChunkHash> = pieces.iter().map(|(hash, _)| *hash).collect();
        let missing = store.missing(&mut save, &hashes).unwrap();
        let batch: Vec<(ChunkHash, &[u8])> = pieces
            .iter()
            .zip(missing)
            .filter(|(_, missing)| *missing)
            .map(|((hash, bytes), _)| (*hash, bytes.as_slice()))
            .collect();
        store.put_chunks(&mut save, &batch).unwrap();
        let new = NewSnapshot {
            id: SnapshotId::new(Timestamp::from_millis(3), 4),
            conversation: manifest.conversation,
            node: manifest.node,
            identity: manifest.identity,
            tokens: manifest.tokens,
            layout: manifest.layout,
            chunks: chunks.into_iter().zip(hashes).collect(),
            image_hash: None,
            challenge: manifest.challenge,
            facts: manifest.facts,
            created: manifest.created,
            supersede: Vec::new(),
        };
        store.commit(save, &new).unwrap();
        store.drop_snapshot(manifest.id).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_forged_with_the_real_key_is_proved_or_replayed() {
    let Some((worker, model)) = needed() else { return };
    let trials = if full() { 512 } else { 32 };
    let logs = tempfile::tempdir().unwrap();
    let program = worker.with_file_name(reprise_engine::process::PROGRAM);
    let engine = EngineHandle::start(EngineFolder::with_program(&program, logs.path()), Limits::default());
    let pristine = tempfile::tempdir().unwrap();
    let first = Folder { path: pristine.path(), model: &model, engine: &engine };
    let (begun, _) = first.turn(Ask::Begin { text: story(320, 1), system: None }).await;
    let copy = || {
        let folder = tempfile::tempdir().unwrap();
        for name in ["history.db", "snapshots.db", "snapshots.key"] {
            fs::copy(pristine.path().join(name), folder.path().join(name)).unwrap();
        }
        folder
    };
    let resume = async |folder: &Path| {
        engine.discard().await.unwrap();
        let here = Folder { path: folder, model: &model, engine: &engine };
        here.turn(go_on(begun.conversation, begun.node)).await.0
    };
    // The control: untouched it is restored.
    let untouched = resume(copy().path()).await;
    assert_eq!(untouched.receipt.path, ResumePath::Restored, "{:?}", untouched.receipt);

    let mut dice = Dice(20_261_123);
    let mut table: BTreeMap<&str, BTreeMap<String, u32>> = BTreeMap::new();
    for trial in 0..trials {
        let index = trial % KINDS.len();
        let folder = copy();
        let dir = DataDir::at(folder.path()).unwrap();
        let mut parts = Parts::read(&dir);
        let (before, then) = (parts.image.clone(), parts.manifest.clone());
        parts.forge(KINDS[index], &mut dice);
        let changed = parts.image != before;
        let any = changed || parts.manifest != then;
        parts.seal(&dir);
        let turn = resume(folder.path()).await;
        let receipt = &turn.receipt;
        let outcome = match (&receipt.path, &receipt.reason) {
            (ResumePath::Restored, _) => {
                // A few bits may weigh nothing: attention that underflows to zero does not see them.
                assert!(!(FAR.contains(&KINDS[index]) && changed), "{}: {receipt:?}", KINDS[index]);
                assert_eq!(turn.token_ids, untouched.token_ids, "{}: {receipt:?}", KINDS[index]);
                if any { "verified all the same".to_owned() } else { "verified (nothing changed)".to_owned() }
            }
            (ResumePath::Replayed, Some(reason)) => format!("replayed: {}", reason.code),
            other => panic!("{}: {other:?}", KINDS[index]),
        };
        *table.entry(KINDS[index]).or_default().entry(outcome).or_default() += 1;
        let reader = History::open_reader(&dir).unwrap();
        let all = reader.messages(begun.conversation).unwrap();
        assert!(all.len() == 4 && all.iter().all(|message| !message.damaged), "every message stays");
    }
    engine.shutdown().await;
    println!("| what was changed | outcomes |");
    println!("|---|---|");
    for (kind, outcomes) in &table {
        let told: Vec<String> =
            outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        println!("| {kind} | {} |", told.join(", "));
    }
}
