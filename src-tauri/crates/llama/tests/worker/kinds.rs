//! Models of every kind in which llama.cpp remembers: tiny ones with random weights, written on the spot, which
//! must be such that a lost or wrong state shows in what they answer.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::{LlamaBackend, load_backends_from_path};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use reprise_engine::message::{CacheKind, StopReason};
use reprise_engine::state::Fingerprint;

use crate::rig::{Rig, SMOLLM2, ask, engine_dir, ids, model, user};

/// File, architecture, and how it remembers.
pub const KINDS: [(&str, &str, CacheKind); 6] = [
    ("tiny-dense.gguf", "llama", CacheKind::Full),
    ("tiny-window.gguf", "gemma3", CacheKind::SlidingWindow),
    ("tiny-recurrent.gguf", "mamba2", CacheKind::Recurrent),
    ("tiny-hybrid.gguf", "granitehybrid", CacheKind::Hybrid),
    ("tiny-moe.gguf", "qwen3moe", CacheKind::Full),
    ("tiny-mla.gguf", "deepseek2", CacheKind::Full),
];

/// The folder with them, written where they are not there yet.
pub fn tiny_models() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let write = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiny-models");
        write_tiny_models(&model(SMOLLM2)?, &folder);
        Some(folder)
    };
    FOLDER.get_or_init(write).as_deref()
}

fn write_tiny_models(starter: &Path, folder: &Path) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_reprise-tiny-models"));
    assert!(program.arg(starter).arg(folder).status().unwrap().success());
}

#[test]
fn the_same_starter_gives_the_same_files_and_they_are_written_once() {
    let (Some(starter), Some(folder)) = (model(SMOLLM2), tiny_models()) else { return };
    let again = tempfile::tempdir().unwrap();
    // Two at once, as tests are.
    std::thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(|| write_tiny_models(&starter, again.path()))));
    });
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    let when = |name: &str| again.path().join(name).metadata().unwrap().modified().unwrap();
    for (name, ..) in KINDS {
        let file = read(folder, name);
        assert!(file.len() < 16_000_000, "{name}: {}", file.len());
        assert!(read(again.path(), name) == file, "{name} is another each time");
    }
    assert_eq!(std::fs::read_dir(again.path()).unwrap().count(), KINDS.len(), "something was left behind");
    // One that is whole stays; one that was made otherwise, or not to its end, does not.
    let [whole, short, other] = [KINDS[0].0, KINDS[1].0, KINDS[2].0];
    let written = when(whole);
    let mut changed = read(folder, other);
    changed[100] ^= 1;
    std::fs::write(again.path().join(other), changed).unwrap();
    std::fs::write(again.path().join(short), &read(folder, short)[..1 << 20]).unwrap();
    write_tiny_models(&starter, again.path());
    assert_eq!(when(whole), written);
    for name in [short, other] {
        assert!(read(again.path(), name) == read(folder, name), "{name}");
    }
}

#[tokio::test]
async fn each_is_told_by_how_it_remembers_and_answers_alike_in_a_new_worker() {
    let Some(folder) = tiny_models() else { return };
    for (name, architecture, cache) in KINDS {
        let path = folder.join(name);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let rig = Rig::start();
            let info = rig.load(&path).await;
            assert_eq!((info.architecture.as_str(), info.cache), (architecture, cache), "{name}");
            let question = "Which river is the longest, and through which lands does it flow?";
            let answer = rig.ask(ask(user(question), 32)).await;
            assert_eq!(answer.finished().stop, StopReason::Length, "{name}");
            let mut different = ids(&answer.tokens);
            different.sort_unstable();
            different.dedup();
            assert!(different.len() >= 4, "{name} repeats itself: {:?}", answer.text);
            answers.push(answer);
            let Some(state) = info.state else {
                assert_ne!(cache, CacheKind::Full, "{name}: {:?}", info.why_no_state);
                continue;
            };
            // Of the prompt's 40 tokens or so and the answer.
            let exported = rig.engine.export().await.unwrap();
            assert_eq!((exported.fingerprints.len(), state.controls.len()), (2, 2), "{name}");
            for (then, control) in exported.fingerprints.iter().zip(&state.controls) {
                assert_eq!(then.probe, control.probe);
                let apart = at_least_apart(then, control);
                eprintln!("{name}: at least {apart:.1} nats from an empty context");
                assert!(apart > 1.0, "{name}: {apart}");
            }
        }
        assert_eq!(answers[0].tokens, answers[1].tokens, "{name}");
        eprintln!("{name}: {:?}", answers[0].text);
    }
}

/// A lower bound of the Kullback-Leibler divergence in nats, over the tokens that the first names and the rest as
/// one. A token that the second does not name is taken to be as likely there as the least that it names.
fn at_least_apart(a: &Fingerprint, b: &Fingerprint) -> f64 {
    let p = |of: &Fingerprint, logit: f32| (f64::from(logit) - of.log_sum_exp).exp();
    let least = b.top.last().unwrap().1;
    let (mut sum, mut rest) = (0.0, 1.0);
    for (token, logit) in &a.top {
        let there = b.top.iter().find(|(named, _)| named == token).map_or(least, |(_, logit)| *logit);
        sum += p(a, *logit) * (p(a, *logit) / p(b, there)).ln();
        rest -= p(a, *logit);
    }
    // The rest of the second is no more than everything; that of the first is nothing at times, but for rounding.
    let rest = f64::max(rest, f64::MIN_POSITIVE);
    sum + rest * rest.ln()
}

/// What tests of states rest on: an answer is numbers, neither certain nor a lottery, and it depends on all that
/// was read, also on what lies far back; but not on how it was cut into batches.
#[test]
fn answers_rest_on_all_that_was_read() {
    let Some(folder) = tiny_models() else { return };
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default().with_logs_enabled(false));
    load_backends_from_path(engine_dir());
    let llama = LlamaBackend::init().unwrap();
    for (name, ..) in KINDS {
        let params = LlamaModelParams::default().with_devices(&[]).unwrap().with_n_gpu_layers(0);
        let model = LlamaModel::load_from_file(&llama, folder.join(name), &params).unwrap();
        let params = LlamaContextParams::default().with_n_ctx(Some(2048.try_into().unwrap()));
        let params = params.with_n_batch(256).with_n_ubatch(256).with_n_threads(1).with_n_threads_batch(1);
        let mut asked = Asked(model.new_context(&llama, params).unwrap());
        let text = include_str!("../../../../../LICENSE-APACHE");
        let text = model.vocab().tokenize(text.as_bytes(), false, false);
        let (first, second) = (&text[..450], &text[1000..1450]);
        // All but the beginning is the first one.
        let other_beginning = [&second[..150], &first[150..]].concat();

        for length in [1, 2, 255, 256, 257, 1500] {
            asked.answer(&text[..length], 256);
        }
        for probe in ["?", " The"] {
            let probe = model.vocab().tokenize(probe.as_bytes(), false, false);
            let [empty, short, one, other, far] = [&[][..], &first[..40], first, second, &other_beginning]
                .map(|text| asked.answer(&[text, &probe].concat(), 256));
            let singly = asked.answer(&[first, &probe].concat(), 1);
            let figures = [
                ("from a short text to none", apart(&short, &empty), 3.0),
                ("from a long text to none", apart(&one, &empty), 3.0),
                ("to another", apart(&one, &other), 2.0),
                ("to one that begins otherwise", apart(&one, &far), 1.0),
            ];
            let (entropy, batches) = (entropy(&one), apart(&one, &singly));
            let nats = figures.map(|(what, nats, _)| format!("{nats:.1} {what}")).join(", ");
            eprintln!("{name}: {nats}; entropy {entropy:.1}; {batches:.5} between batches");
            for (what, nats, least) in figures {
                assert!(nats > least, "{name}, {what}: {nats}");
            }
            assert!((0.5..7.0).contains(&entropy), "{name}: {entropy}");
            assert!(batches < 0.01, "{name}: {batches}");
        }
    }
}

struct Asked<'m>(LlamaContext<'m>);

impl Asked<'_> {
    /// The logarithms of the probabilities of what comes behind a text, read in batches.
    fn answer(&mut self, text: &[LlamaToken], batch: usize) -> Vec<f64> {
        self.0.clear_kv_cache();
        let mut position = 0;
        for part in text.chunks(batch) {
            let mut batch = LlamaBatch::new(part.len(), 1);
            for (index, token) in part.iter().enumerate() {
                batch.add(*token, position, &[0], index + 1 == part.len()).unwrap();
                position += 1;
            }
            self.0.decode(&mut batch).unwrap();
        }
        let logits = self.0.get_logits_ith(-1);
        assert!(logits.iter().all(|logit| logit.is_finite()));
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        logits.iter().map(|logit| f64::from(*logit) - sum.ln()).collect()
    }
}

/// The Kullback-Leibler divergence, in nats.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.exp() * (a - b)).sum()
}

/// In nats.
fn entropy(a: &[f64]) -> f64 {
    -a.iter().map(|a| a.exp() * a).sum::<f64>()
}
