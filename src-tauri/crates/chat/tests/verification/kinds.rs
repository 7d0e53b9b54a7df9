//! Every kind of model, on the processor and on a device: whether its states survive. The table of
//! `docs/VERIFICATION.md`.

use std::path::{Path, PathBuf};
use std::process::Command;

use reprise_chat::{Qualification, Verdict};
use reprise_engine::message::{CacheKind, KvPlace, KvType};
use reprise_engine::qualify::QualifySpec;
use reprise_store::Timestamp;

use crate::remote_rig::{DEVICE, Remote};
use crate::rig::{Settings, Worker, full, needed, target};

/// All layers, and the output.
pub const ALL: u32 = 99;

/// Models of every kind with what they are called: tiny ones with random weights, and the real ones that are here.
pub fn models(starter: &Path) -> Vec<(String, PathBuf)> {
    let folder = target().with_file_name("tmp").join("tiny-models");
    let mut program = Command::new(target().join("reprise-tiny-models"));
    assert!(program.arg(starter).arg(&folder).status().unwrap().success());
    let tiny = ["dense", "window", "recurrent", "hybrid", "moe", "mla"];
    let mut models: Vec<_> =
        tiny.iter().map(|kind| ((*kind).to_owned(), folder.join(format!("tiny-{kind}.gguf")))).collect();
    models.extend(real_models(starter));
    models
}

/// Those that are here of the real ones.
pub fn real_models(starter: &Path) -> Vec<(String, PathBuf)> {
    let mut models = vec![("SmolLM2-135M".to_owned(), starter.to_owned())];
    let gemma = starter.with_file_name("gemma-3-270m.Q4_K_M.gguf");
    if gemma.is_file() {
        models.push(("Gemma-3-270M".to_owned(), gemma));
    } else {
        assert!(std::env::var_os("CI").is_none(), "the sliding-window model is missing: `make setup`");
        println!("skipped, because {} is not there (make setup)", gemma.display());
    }
    models
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_survives_everywhere() {
    let Some((worker, starter)) = needed() else { return };
    let Some(remote) = Remote::start(&target(), 2) else { return };
    println!(
        "| model | remembers by | computed on | KV cache | verdict | tokens | state | challenge KL | control KL |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, model) in models(&starter) {
        let real = name.contains('-');
        for kv in [KvType::F16, KvType::Q8_0] {
            let host = (!real || full()).then_some(Some((DEVICE, ALL, KvPlace::Host)));
            for offload in [None, Some((DEVICE, ALL, KvPlace::Device))].into_iter().chain(host) {
                let settings = Settings { kv, offload, ..Settings::of(2048, 2) };
                let device = offload.map(|_| &remote);
                let bench = Worker::with(&worker, &model, settings, device).await;
                let figures = bench.engine.qualify(QualifySpec::default()).await.unwrap();
                let found = Qualification::of(figures, Timestamp::from_millis(0));
                let (on, place) = match offload {
                    None => ("processor", "host"),
                    Some((_, _, place)) => ("remote device", place.as_str()),
                };
                println!(
                    "| {name} | {} | {on} | {}, {place} | {} | {} | {:.2} MB | {:.4} | {:.1} |",
                    remembers(bench.info.cache),
                    kv.as_str(),
                    found.verdict.as_str(),
                    found.figures.tokens,
                    found.figures.state_bytes as f64 / 1e6,
                    found.figures.challenge_kl,
                    found.figures.control_kl,
                );
                assert_ne!(found.verdict, Verdict::Failed, "{name} on the {on}: {found:?}");
                bench.engine.shutdown().await;
            }
        }
    }
}

fn remembers(cache: CacheKind) -> &'static str {
    match cache {
        CacheKind::Full => "full attention",
        CacheKind::SlidingWindow => "sliding window",
        CacheKind::Recurrent => "recurrence",
        CacheKind::Hybrid => "attention and recurrence",
    }
}
