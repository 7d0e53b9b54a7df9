//! A device that is named: what `scripts/gpu-check` runs where there is a real graphics card. The rows are those of
//! `docs/GPU.md`: check, model, KV cache, result, figures.

use std::io::{self, Write};
use std::path::Path;

use reprise_chat::{Qualification, Verdict};
use reprise_engine::message::{KvPlace, KvType};
use reprise_engine::qualify::QualifySpec;
use reprise_store::Timestamp;

use crate::devices::{Trial, judged};
use crate::kinds::{ALL, real_models};
use crate::mutants::{CONTROL, FAULTS};
use crate::remote_rig::{DEVICE, Remote};
use crate::rig::{Settings, Worker, needed, story, target};

/// Tokens of the conversations that go from one device to the other.
const TOKENS: usize = 1000;

/// A device, and the process that serves it where that is not this machine's.
struct Device<'a> {
    name: &'static str,
    remotes: Option<&'a [Remote; 2]>,
}

impl Device<'_> {
    async fn worker(&self, model: &Path, settings: Settings, which: usize) -> Worker {
        let (program, _) = needed().unwrap();
        Worker::with(&program, model, settings, self.remotes.map(|remotes| &remotes[which])).await
    }

    /// Whether states survive here, and how near the processor computes; `false` where one does not.
    async fn survive(&self, model: (&str, &Path), kv: KvType, tokens: usize) -> bool {
        let (name, file) = model;
        let mut well = true;
        for place in [KvPlace::Device, KvPlace::Host] {
            let settings = Settings { kv, offload: Some((self.name, ALL, place)), ..Settings::of(2048, 2) };
            let here = self.worker(file, settings, 0).await;
            let figures = here.engine.qualify(QualifySpec::default()).await.unwrap();
            let found = Qualification::of(figures, Timestamp::from_millis(0));
            well &= found.verdict != Verdict::Failed;
            println!(
                "| survival | {name} | {}, {} | {} | {} tokens, {:.4} nats from the uninterrupted run, {:.1} from an empty cache{} |",
                kv.as_str(),
                place.as_str(),
                found.verdict.as_str(),
                found.figures.tokens,
                found.figures.challenge_kl,
                found.figures.control_kl,
                found.why.map(|why| format!("; {why}")).unwrap_or_default(),
            );
            let there = self.worker(file, Settings { offload: None, ..settings }, 1).await;
            for (way, from, to) in
                [("processor to device", &there, &here), ("device to processor", &here, &there)]
            {
                from.say(&story(tokens, 7), Vec::new()).await;
                let (exported, bytes) = from.export().await;
                let restored = to.restore(&exported, &bytes).await;
                let (equal, far) = judged(&exported, from, to, &restored);
                let result = if equal { "equal in every bit" } else { "not equal: replayed" };
                println!(
                    "| {way} | {name} | {}, {} | {result} | {} tokens, {far:.4} nats apart |",
                    kv.as_str(),
                    place.as_str(),
                    exported.tokens.len()
                );
            }
            for worker in [here, there] {
                worker.engine.shutdown().await;
            }
        }
        well
    }

    /// Every fault once, on all layers.
    async fn is_never_fooled(&self, model: (&str, &Path), tokens: usize) {
        let (name, file) = model;
        let n_ctx = u32::try_from(tokens).unwrap() + 512;
        let settings =
            Settings { offload: Some((self.name, ALL, KvPlace::Device)), ..Settings::of(n_ctx, 2) };
        let (saver, bench) = (self.worker(file, settings, 0).await, self.worker(file, settings, 1).await);
        let trial = Trial::prepare(&saver, &bench, ALL, tokens).await;
        let (mut caught, mut all, mut nearest) = (0, 0, f64::INFINITY);
        let mut wrong = Vec::new();
        let told = |side, fault: &str, found: bool, far: f64| {
            if FAULTS.contains(&fault) {
                caught += u32::from(found);
                all += 1;
                nearest = nearest.min(far);
                if !found {
                    wrong.push(format!("{fault} at {side} went unnoticed"));
                }
            } else if fault != CONTROL && found {
                wrong.push(format!("an honest state was refused at {side}"));
            }
        };
        trial.run(&story(tokens, 1), told).await;
        println!(
            "| broken backends | {name} | f16, device | {caught} of {all} caught | the nearest {nearest:.4} nats away |"
        );
        for worker in [saver, bench] {
            worker.engine.shutdown().await;
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

/// What runs on a graphics card runs on the remote device, so that it works on the day that there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_of_a_graphics_card_works_on_a_remote_device() {
    let Some((_, starter)) = needed() else { return };
    let [Some(one), Some(other)] = [Remote::start(&target(), 2), Remote::start(&target(), 2)] else { return };
    let remotes = [one, other];
    let device = Device { name: DEVICE, remotes: Some(&remotes) };
    assert!(device.survive(("SmolLM2-135M", &starter), KvType::F16, 100).await);
    device.is_never_fooled(("SmolLM2-135M", &starter), 300).await;
}

/// The real one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_survive_on_the_graphics_card_that_is_named() {
    let Ok(name) = std::env::var("REPRISE_GPU") else {
        // Straight to where it is seen: what a passing test prints is not shown.
        let _ =
            writeln!(io::stderr(), "skipped, because REPRISE_GPU names no graphics card (scripts/gpu-check)");
        return;
    };
    let Some((_, starter)) = needed() else { panic!("the check needs its model and its worker") };
    let device = Device { name: name.leak(), remotes: None };
    let mut well = true;
    for (name, model) in real_models(&starter) {
        for kv in [KvType::F16, KvType::Q8_0] {
            well &= device.survive((&name, &model), kv, TOKENS).await;
        }
    }
    device.is_never_fooled(("SmolLM2-135M", &starter), TOKENS).await;
    // Not an error of the check: it is what the app would find, and act upon.
    if !well {
        println!("a state does not survive on {}: the app would take the next place, or replay", device.name);
    }
}
