//! A device whose memory is another process's: states go there and come back, and every broken way of doing so is
//! found out, also where only the offloaded layers are hit.

use std::collections::BTreeMap;
use std::fs;

use reprise_chat::challenge::{distance, judge, questions};
use reprise_chat::{Qualification, Verdict};
use reprise_engine::message::KvPlace;
use reprise_engine::qualify::QualifySpec;
use reprise_engine::state::{Exported, Restored};
use reprise_store::Timestamp;

use crate::mutants::{CONTROL, FAULTS};
use crate::remote_rig::{DEVICE, Remote};
use crate::rig::{Settings, Worker, full, needed, reference, story, target};

/// Shares of the 30 layers of the model, in percent, and how many layers they are.
const SHARES: [(u32, u32); 3] = [(25, 8), (50, 15), (100, 30)];

/// To llama.cpp the output is a layer too, the last.
fn offloaded(layers: u32) -> u32 {
    layers + 1
}

fn settings(tokens: usize, layers: u32, kv: KvPlace) -> Settings {
    let n_ctx = u32::try_from(tokens).unwrap() + 512;
    Settings { offload: Some((DEVICE, offloaded(layers), kv)), ..Settings::of(n_ctx, 2) }
}

/// Whether every bit is equal, and how far the answers are apart.
pub fn judged(exported: &Exported, saver: &Worker, bench: &Worker, restored: &Restored) -> (bool, f64) {
    assert_eq!(restored.fault, None, "only the challenge may tell");
    let state = bench.info.state.as_ref().unwrap();
    let then = reference(exported, saver);
    let asked = questions(&then, &state.class, &state.controls);
    let answers = restored.fingerprints.iter().filter(|answer| asked.contains(&&*answer.probe));
    let answers: Vec<_> = answers.cloned().collect();
    let verdict = judge(&then, &state.class, &answers, &state.controls);
    let before = |probe| then.fingerprints.iter().find(|then| &then.probe == probe).unwrap();
    let apart = answers.iter().map(|now| distance(before(&now.probe), now));
    (verdict.passed, apart.fold(0.0, f64::max))
}

/// How far apart the processor and the device are, and whether states survive on the device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_survive_on_a_device_with_memory_of_its_own() {
    let Some((worker, model)) = needed() else { return };
    let Some(remote) = Remote::start(&target(), 2) else { return };
    let tokens = 300;
    let text = story(tokens, 7);
    let cpu = Worker::new(&worker, &model, Settings::of(812, 2)).await;
    cpu.say(&text, Vec::new()).await;
    let (there, there_bytes) = cpu.export().await;
    println!(
        "| offloaded | KV cache | verdict | CPU to device, equal | distance | device to CPU, equal | distance |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (share, layers) in SHARES {
        for kv in [KvPlace::Device, KvPlace::Host] {
            let device = Worker::with(&worker, &model, settings(tokens, layers, kv), Some(&remote)).await;
            let class = &device.info.state.as_ref().unwrap().class;
            assert_eq!((class["device"].as_str(), class["kv_place"].as_str()), ("RPC0", kv.as_str()));
            let figures = device.engine.qualify(QualifySpec::default()).await.unwrap();
            let found = Qualification::of(figures, Timestamp::from_millis(0));
            assert_eq!(found.verdict, Verdict::Identical, "{found:?}");
            let restored = device.restore(&there, &there_bytes).await;
            let (to, to_far) = judged(&there, &cpu, &device, &restored);
            device.say(&text, Vec::new()).await;
            let (here, here_bytes) = device.export().await;
            let restored = cpu.restore(&here, &here_bytes).await;
            let (back, back_far) = judged(&here, &device, &cpu, &restored);
            println!(
                "| {share} % | {} | {} | {to} | {to_far:.4} | {back} | {back_far:.4} |",
                kv.as_str(),
                found.verdict.as_str()
            );
            device.engine.shutdown().await;
        }
    }
    cpu.engine.shutdown().await;
}

/// What became of one fault on one side.
#[derive(Default)]
pub struct Row {
    pub trials: u32,
    pub caught: u32,
    pub least: f64,
}

/// A state is kept on one device and restored on another alike, with each fault on each side.
pub struct Trial<'a> {
    pub saver: &'a Worker,
    pub bench: &'a Worker,
    /// Only so many of the last layers are hit.
    pub layers: u32,
}

impl<'a> Trial<'a> {
    /// Has a conversation ready that cells can be mixed up with.
    pub async fn prepare(saver: &'a Worker, bench: &'a Worker, layers: u32, tokens: usize) -> Self {
        saver.say(&story(tokens, 99), Vec::new()).await;
        let (_, other) = saver.export().await;
        for worker in [saver, bench] {
            fs::write(worker.mutation.with_file_name("mutation.other"), &other).unwrap();
        }
        Self { saver, bench, layers }
    }

    /// Every fault once on both sides; `told` gets side, fault, whether it was caught, and the distance.
    pub async fn run(&self, text: &str, mut told: impl FnMut(&'static str, &'static str, bool, f64)) {
        let Self { saver, bench, layers } = self;
        saver.say(text, Vec::new()).await;
        let (honest, bytes) = saver.export().await;
        for side in ["import", "export"] {
            for fault in FAULTS.into_iter().chain([CONTROL, "none"]) {
                let asked = format!("{fault} {layers}");
                let (mut exported, mut image) = (honest.clone(), bytes.clone());
                if side == "export" {
                    saver.set("export", &asked);
                    (exported, image) = saver.export().await;
                    saver.set("-", "-");
                    bench.set("-", "-");
                } else {
                    bench.set("import", &asked);
                }
                let restored = bench.restore(&exported, &image).await;
                let (passed, far) = judged(&exported, saver, bench, &restored);
                told(side, fault, !passed, far);
            }
        }
        bench.set("-", "-");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_device_is_found_out() {
    let Some((worker, model)) = needed() else { return };
    // Each serves one worker.
    let remotes = [Remote::start(&target(), 2), Remote::start(&target(), 2)];
    let [Some(there), Some(here)] = &remotes else { return };
    let (tokens, trials) = if full() { (300, 20) } else { (300, 1) };
    let mut table: BTreeMap<(u32, &str, &str), Row> = BTreeMap::new();
    for (share, layers) in SHARES {
        let settings = settings(tokens, layers, KvPlace::Device);
        let saver = Worker::with(&worker, &model, settings, Some(there)).await;
        let bench = Worker::with(&worker, &model, settings, Some(here)).await;
        let trial = Trial::prepare(&saver, &bench, layers, tokens).await;
        for number in 0..trials {
            let told = |side, fault, caught, far| {
                let row = table
                    .entry((share, side, fault))
                    .or_insert_with(|| Row { least: f64::INFINITY, ..Row::default() });
                row.trials += 1;
                row.caught += u32::from(caught);
                row.least = row.least.min(far);
            };
            trial.run(&story(tokens, number), told).await;
        }
        for worker in [saver, bench] {
            worker.engine.shutdown().await;
        }
    }
    println!("| offloaded | side | fault in the offloaded layers | caught | distance ≥ |");
    println!("|---|---|---|---|---|");
    for ((share, side, fault), row) in &table {
        println!("| {share} % | {side} | {fault} | {}/{} | {:.4} |", row.caught, row.trials, row.least);
    }
    for ((share, side, fault), row) in &table {
        if FAULTS.contains(fault) {
            assert_eq!(row.caught, row.trials, "{fault} on {side} at {share} % went unnoticed");
        } else if *fault == "none" {
            assert_eq!(row.caught, 0, "an honest state was refused on {side} at {share} %");
        }
    }
}
