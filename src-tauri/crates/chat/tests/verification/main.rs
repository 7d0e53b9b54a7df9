//! Whether a broken backend is found out: real states of a real model through workers that lose, mix up or
//! never read what they are given. Nothing but the challenge can tell: sizes, positions and seals are right.
//!
//! A short round runs with the tests; `REPRISE_VERIFICATION=full` runs the one whose table is in
//! `docs/VERIFICATION.md`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the table is what it is run for")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reprise_chat::challenge::{Reference, distance, judge, questions};
use reprise_engine::message::{
    ChatMessage, FlashAttention, GenerateSpec, KvType, LoadSpec, ModelInfo, Role, Sampling, TokenId,
};
use reprise_engine::process::EngineFolder;
use reprise_engine::state::{Exported, Pieces, RestoreSpec, Restored};
use reprise_engine::{EngineHandle, GenerationEvent, Limits};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

const MODEL: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// Faults in which something is lost or mixed up.
const FAULTS: [&str; 14] = [
    "all",
    "k_only",
    "v_only",
    "upper_half_of_layers",
    "first_layer",
    "middle_layer",
    "last_layer",
    "first_half_of_positions",
    "first_64_positions",
    "32_positions_in_the_middle",
    "last_position",
    "one_row_of_one_layer",
    "shifted_by_one",
    "other_conversation",
];
/// No fault at all.
const CONTROL: &str = "rows_swapped_alike";

struct Bench {
    engine: EngineHandle,
    info: ModelInfo,
    mutation: PathBuf,
    _folder: TempDir,
}

fn target() -> PathBuf {
    // target/debug/deps/verification-…
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

fn needed() -> Option<(PathBuf, PathBuf)> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models").join(MODEL);
    let worker = target().join(format!("reprise-engine-mutant{}", std::env::consts::EXE_SUFFIX));
    for (file, remedy) in [(&model, "make setup"), (&worker, "cargo build --workspace")] {
        if !file.is_file() {
            assert!(std::env::var_os("CI").is_none(), "{} is missing: {remedy}", file.display());
            println!("skipped, because {} is not there ({remedy})", file.display());
            return None;
        }
    }
    Some((worker, model.canonicalize().unwrap()))
}

impl Bench {
    async fn new(worker: &Path, model: &Path, n_ctx: u32, threads: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Beside the real engine, whose libraries and modules it needs.
        let mutation = folder.path().join("mutation");
        fs::write(&mutation, "").unwrap();
        let starter = folder.path().join("worker");
        let script = format!(
            "#!/bin/sh\nREPRISE_MUTATION_FILE='{}' OMP_WAIT_POLICY=passive exec '{}' \"$@\"\n",
            mutation.display(),
            worker.display()
        );
        fs::write(&starter, script).unwrap();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&starter, permissions).unwrap();
        let engine =
            EngineHandle::start(EngineFolder::with_program(&starter, folder.path()), Limits::default());
        let spec = LoadSpec {
            model: model.to_owned(),
            n_ctx: Some(n_ctx),
            n_threads: Some(threads),
            kv_type: KvType::F16,
            flash_attention: FlashAttention::Auto,
            rope_freq_base: None,
        };
        let (progress, _unread) = mpsc::channel(1);
        let info = engine.load(spec, progress, watch::channel(false).1).await.unwrap();
        Self { engine, info, mutation, _folder: folder }
    }

    fn set(&self, side: &str, fault: &str) {
        fs::write(&self.mutation, format!("{side} {fault}")).unwrap();
    }

    /// Decodes a prompt and one token of an answer.
    async fn say(&self, text: &str, known: Vec<TokenId>) {
        let spec = GenerateSpec {
            messages: vec![ChatMessage { role: Role::User, content: text.to_owned() }],
            known,
            sampling: Sampling { temperature: 0.0, ..Sampling::default() },
            max_tokens: Some(1),
            stop: Vec::new(),
            began: 0,
        };
        let mut generation = self.engine.generate(spec, watch::channel(false).1).await.unwrap();
        loop {
            if let GenerationEvent::Ended(ended) = generation.next().await {
                ended.unwrap();
                return;
            }
        }
    }

    async fn export(&self) -> (Exported, Vec<u8>) {
        let exported = self.engine.export().await.unwrap();
        let (sink, mut frames) = mpsc::channel::<Vec<u8>>(4);
        let all = whole(exported.table.len);
        let bytes = async {
            let mut bytes = Vec::new();
            while let Some(frame) = frames.recv().await {
                bytes.extend(frame);
            }
            bytes
        };
        let (shipped, bytes) = tokio::join!(self.engine.ship(exported.image, vec![all], sink), bytes);
        shipped.unwrap();
        self.engine.release(exported.image).await.unwrap();
        (exported, bytes)
    }

    async fn restore(&self, exported: &Exported, bytes: &[u8]) -> Restored {
        let (frames, source) = mpsc::channel(4);
        let feed = async {
            for frame in bytes.chunks(reprise_engine::frame::MAX_STATE) {
                frames.send(frame.to_vec()).await.unwrap();
            }
            drop(frames);
        };
        let len = exported.table.len;
        let (received, ()) = tokio::join!(self.engine.receive(len, vec![whole(len)], source), feed);
        received.unwrap();
        let spec = RestoreSpec {
            tokens: exported.tokens.clone(),
            table: exported.table.clone(),
            probes: exported.fingerprints.iter().map(|fingerprint| fingerprint.probe.clone()).collect(),
        };
        let restored = self.engine.restore(spec).await.unwrap();
        self.engine.discard().await.unwrap();
        restored
    }
}

fn whole(len: u64) -> Pieces {
    let mut pieces = Pieces::default();
    pieces.push(0, len);
    pieces
}

/// What became of one kind of trial.
#[derive(Default)]
struct Row {
    trials: u32,
    caught: u32,
    caught_across: u32,
    least: f64,
    least_across: f64,
}

/// A text of about so many tokens, told apart by its number.
fn story(tokens: usize, number: usize) -> String {
    const WORDS: [&str; 24] = [
        "river", "lamp", "quiet", "engine", "letter", "mountain", "seven", "window", "copper", "winter",
        "basket", "teacher", "orange", "harbour", "candle", "market", "silver", "garden", "thunder", "paper",
        "violin", "bridge", "morning", "stone",
    ];
    let mut seed = number as u64 * 7919 + 17;
    let mut word = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        WORDS[usize::try_from(seed >> 40).unwrap() % WORDS.len()]
    };
    let words: Vec<&str> = (0..tokens * 3 / 4).map(|_| word()).collect();
    format!("Remember this list: {}. Which word comes first?", words.join(" "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_backend_is_found_out() {
    let Some((worker, model)) = needed() else { return };
    let full = std::env::var("REPRISE_VERIFICATION").is_ok_and(|value| value == "full");
    let (lengths, trials): (&[usize], usize) = if full { (&[300, 1000, 4000], 20) } else { (&[300], 2) };
    let mut table: BTreeMap<(usize, &str, &str), Row> = BTreeMap::new();
    let mut false_alarms = Vec::new();
    for tokens in lengths {
        let n_ctx = u32::try_from(*tokens).unwrap() + 512;
        let saver = Bench::new(&worker, &model, n_ctx, 2).await;
        let same = Bench::new(&worker, &model, n_ctx, 2).await;
        let across = Bench::new(&worker, &model, n_ctx, 1).await;
        // The conversation whose cells get mixed up with those of the others.
        saver.say(&story(*tokens, 99), Vec::new()).await;
        let (_, other) = saver.export().await;
        for bench in [&saver, &same, &across] {
            fs::write(bench.mutation.with_file_name("mutation.other"), &other).unwrap();
        }
        for trial in 0..trials {
            saver.say(&story(*tokens, trial), Vec::new()).await;
            let (honest, bytes) = saver.export().await;
            let judged = |bench: &Bench, reference: &Exported, restored: &Restored| {
                let state = bench.info.state.as_ref().unwrap();
                assert_eq!(restored.fault, None, "only the challenge may tell");
                let then = saver.info.state.as_ref().unwrap().class.clone();
                let reference = Reference { fingerprints: reference.fingerprints.clone(), class: then };
                let asked = questions(&reference, &state.class, &state.controls);
                let answers = restored.fingerprints.iter().filter(|answer| asked.contains(&&*answer.probe));
                let answers: Vec<_> = answers.cloned().collect();
                let verdict = judge(&reference, &state.class, &answers, &state.controls);
                let then = |probe| reference.fingerprints.iter().find(|then| &then.probe == probe).unwrap();
                let apart = answers.iter().map(|now| distance(then(&now.probe), now));
                (verdict.passed, apart.fold(0.0, f64::max))
            };
            for side in ["import", "export"] {
                for fault in FAULTS.into_iter().chain([CONTROL, "none"]) {
                    let (mut exported, mut image) = (honest.clone(), bytes.clone());
                    if side == "export" {
                        saver.set("export", fault);
                        (exported, image) = saver.export().await;
                        saver.set("-", "-");
                        assert_eq!(exported.fingerprints, honest.fingerprints, "the live state is untouched");
                    }
                    let row = table.entry((*tokens, side, fault)).or_insert_with(|| Row {
                        least: f64::INFINITY,
                        least_across: f64::INFINITY,
                        ..Row::default()
                    });
                    row.trials += 1;
                    for (bench, here) in [(&same, true), (&across, false)] {
                        if side == "import" {
                            bench.set("import", fault);
                        } else {
                            bench.set("-", "-");
                        }
                        let restored = bench.restore(&exported, &image).await;
                        let (passed, far) = judged(bench, &exported, &restored);
                        if here {
                            row.caught += u32::from(!passed);
                            row.least = row.least.min(far);
                        } else {
                            row.caught_across += u32::from(!passed);
                            row.least_across = row.least_across.min(far);
                        }
                        if fault == "none" && !passed {
                            false_alarms.push((*tokens, side, trial, here, far));
                        }
                    }
                }
            }
        }
        for bench in [saver, same, across] {
            bench.engine.shutdown().await;
        }
    }
    println!(
        "| tokens | side | fault | caught, same class | distance ≥ | caught, other threads | distance ≥ |"
    );
    println!("|---|---|---|---|---|---|---|");
    for ((tokens, side, fault), row) in &table {
        println!(
            "| {tokens} | {side} | {fault} | {}/{} | {:.4} | {}/{} | {:.4} |",
            row.caught, row.trials, row.least, row.caught_across, row.trials, row.least_across
        );
    }
    assert!(false_alarms.is_empty(), "honest restores that were refused: {false_alarms:?}");
    for ((tokens, side, fault), row) in &table {
        if FAULTS.contains(fault) {
            assert_eq!(row.caught, row.trials, "{fault} on {side} at {tokens} tokens went unnoticed");
        }
    }
}
