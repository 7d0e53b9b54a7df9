//! How fast states are saved and read back on this disk: prints, asserts nothing.
//! `cargo run -p reprise-store --example snapshot_speed [folder]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for people")]

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reprise_store::{
    Begun, Budget, ChunkHash, ChunkSpec, ChunkToRead, ConversationId, DataDir, History, Holder, Layout,
    NewSnapshot, NodeId, Region, SnapshotId, SnapshotReader, SnapshotStore, Split, Timestamp, gather,
};

/// As SmolLM2-135M: 30 layers, K and V rows of 384 bytes each.
const REGIONS: u64 = 60;
const ROW: u64 = 384;

fn image(seed: u64, rows: u32) -> (Layout, Vec<u8>) {
    let mut regions = Vec::new();
    let mut at = 12 * u64::from(rows) + 44;
    for _ in 0..REGIONS {
        regions.push(Region { offset: at, row: ROW, rows });
        at += ROW * u64::from(rows) + 12;
    }
    let layout = Layout { len: at - 12, regions };
    let mut image = vec![0; usize::try_from(layout.len).unwrap()];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut image);
    (layout, image)
}

fn gathered(layout: &Layout, image: &[u8]) -> Vec<(ChunkSpec, ChunkHash, Vec<u8>)> {
    let chunk = |spec: ChunkSpec| {
        let mut bytes = Vec::new();
        gather(&spec, layout, image, &mut bytes).unwrap();
        (spec, ChunkHash::of(&bytes), bytes)
    };
    Split::of(layout).unwrap().chunks.into_iter().map(chunk).collect()
}

fn save(
    store: &mut SnapshotStore,
    n: u64,
    rows: u32,
    layout: &Layout,
    chunks: &[(ChunkSpec, ChunkHash, Vec<u8>)],
) -> SnapshotId {
    let Begun::Save(mut save) = store.begin_save(layout.len).unwrap() else { panic!("too large") };
    for batch in chunks.chunks(11) {
        let hashes: Vec<ChunkHash> = batch.iter().map(|chunk| chunk.1).collect();
        let missing = store.missing(&mut save, &hashes).unwrap();
        let batch: Vec<_> = batch
            .iter()
            .zip(missing)
            .filter(|(_, new)| *new)
            .map(|((_, hash, bytes), _)| (*hash, &bytes[..]))
            .collect();
        store.put_chunks(&mut save, &batch).unwrap();
    }
    let at = Timestamp::from_millis(n);
    let new = NewSnapshot {
        id: SnapshotId::new(at, 1),
        conversation: ConversationId::new(at, 1),
        node: NodeId::new(at, 1),
        identity: [("model".to_owned(), "m".to_owned())].into(),
        tokens: (0..rows.cast_signed()).map(|token| token * i32::try_from(n).unwrap()).collect(),
        layout: layout.clone(),
        chunks: chunks.iter().map(|(spec, hash, _)| (spec.clone(), *hash)).collect(),
        image_hash: None,
        challenge: serde_json::Value::Null,
        facts: serde_json::Value::Null,
        created: at,
        supersede: Vec::new(),
    };
    store.commit(save, &new).unwrap().id
}

fn report(what: &str, bytes: u64, mut times: Vec<Duration>) {
    times.sort_unstable();
    let gbs = |time: &Duration| bytes as f64 / time.as_secs_f64() / 1e9;
    let (best, median, worst) = (&times[0], &times[times.len() / 2], &times[times.len() - 1]);
    println!(
        "{what:<44} median {:>8.2} ms  {:>5.2} GB/s  (best {:.2}, worst {:.2})",
        median.as_secs_f64() * 1e3,
        gbs(median),
        gbs(best),
        gbs(worst)
    );
}

/// What the disk does at this moment with a plain file of as many bytes.
fn plain_file(path: &Path, image: &[u8]) -> (Duration, Duration) {
    let begun = Instant::now();
    let mut file = File::create(path).unwrap();
    file.write_all(image).unwrap();
    file.sync_all().unwrap();
    let written = begun.elapsed();
    let mut buffer = vec![0; image.len()];
    let begun = Instant::now();
    File::open(path).unwrap().read_exact(&mut buffer).unwrap();
    (written, begun.elapsed())
}

fn read_all(reader: &SnapshotReader, pieces: impl Iterator<Item = ChunkToRead>, buffer: &mut Vec<u8>) {
    for piece in pieces {
        reader.read_chunk(&piece, buffer).unwrap();
    }
}

fn main() {
    let dir = tempfile::tempdir_in(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned())).unwrap();
    let data = DataDir::create(dir.path().join("data")).unwrap();
    let writer =
        History::open_writer(&data, &Holder::this_process("bench", Timestamp::from_millis(1))).unwrap();
    let budget = || Budget { bytes: 1 << 40, keep_free: 0, free_disk: Arc::new(|| None) };
    let (mut store, _) = SnapshotStore::open(&writer, budget(), [1; 32], Timestamp::from_millis(1)).unwrap();

    let rows = 4_096;
    let mut plain = Vec::new();
    let (mut saves, mut gathers, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    let mut blocks = 0;
    for n in 1..=5 {
        let (layout, image) = image(n, rows);
        bytes = layout.len;
        let begun = Instant::now();
        let chunks = gathered(&layout, &image);
        gathers.push(begun.elapsed());
        blocks = chunks.len();
        let begun = Instant::now();
        ids.push(save(&mut store, n, rows, &layout, &chunks));
        saves.push(begun.elapsed());
        plain.push(plain_file(&dir.path().join("plain"), &image));
    }
    println!("{} MB in {blocks} chunks", bytes / 1_000_000);
    report("gather + hash (in the worker)", bytes, gathers);
    report("write + hash + commit", bytes, saves);

    report("a plain file, written and synced", bytes, plain.iter().map(|times| times.0).collect());
    report("a plain file, read", bytes, plain.iter().map(|times| times.1).collect());

    let mut buffer = Vec::new();
    let one = ids.iter().map(|id| {
        let begun = Instant::now();
        read_all(&store, store.manifest(*id).unwrap().to_read(), &mut buffer);
        begun.elapsed()
    });
    report("read + verify, 1 thread", bytes, one.collect());
    let mut readers = [store.another().unwrap(), store.another().unwrap()];
    let mut buffers = [Vec::new(), Vec::new()];
    let mut two = || {
        let times = ids.iter().map(|id| {
            let begun = Instant::now();
            let pieces: Vec<ChunkToRead> = store.manifest(*id).unwrap().to_read().collect();
            std::thread::scope(|scope| {
                for ((part, reader), buffer) in readers.iter_mut().enumerate().zip(&mut buffers) {
                    let pieces = &pieces;
                    scope.spawn(move || {
                        read_all(reader, pieces.iter().skip(part).step_by(2).copied(), buffer);
                    });
                }
            });
            begun.elapsed()
        });
        times.collect()
    };
    report("read + verify, 2 threads, first time", bytes, two());
    report("the same again", bytes, two());
    report(
        "manifest: seal, parse, check",
        0,
        ids.iter()
            .map(|id| {
                let begun = Instant::now();
                store.manifest(*id).unwrap();
                begun.elapsed()
            })
            .collect(),
    );

    // Many small ones, to look for one among them.
    let (layout, small) = image(9, 300);
    let chunks = gathered(&layout, &small);
    let begun = Instant::now();
    for n in 100..5_100 {
        save(&mut store, n, 300, &layout, &chunks);
    }
    println!("5,000 snapshots of shared chunks: {:.2} ms each", begun.elapsed().as_secs_f64() / 5.0);
    let identity = [("model".to_owned(), "other".to_owned())].into();
    let tokens: Vec<i32> = (0..400).map(|token| token * 777).collect();
    let look = |_| {
        let begun = Instant::now();
        let id = ConversationId::new(Timestamp::from_millis(777), 1);
        assert_eq!(store.candidates(&identity, id, &tokens, 4).unwrap()[0].common, 300);
        begun.elapsed()
    };
    report("candidates among 5,000", 0, (0..50).map(look).collect());
    let begun = Instant::now();
    println!("list: {} in {:?}", store.list().unwrap().len(), begun.elapsed());
    let begun = Instant::now();
    let verified = store.verify(|_| ControlFlow::Continue(())).unwrap();
    println!("verify: {} snapshots, {} MB in {:?}", verified.ok, verified.bytes / 1_000_000, begun.elapsed());
    drop(store);
    let begun = Instant::now();
    let (mut store, _) = SnapshotStore::open(&writer, budget(), [1; 32], Timestamp::from_millis(1)).unwrap();
    println!("open: {:?}", begun.elapsed());
    let begun = Instant::now();
    println!("clear: {:?} in {:?}", store.clear().unwrap(), begun.elapsed());
}
