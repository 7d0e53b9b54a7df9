//! Broken backends: every fault is caught where equality is demanded, by the challenge alone.

use std::collections::BTreeMap;
use std::fs;

use reprise_chat::challenge::{TOLERANCE, distance, judge, questions};
use reprise_engine::message::TokenId;
use reprise_engine::state::{Exported, Restored};

use crate::rig::{self, Settings, Worker, full, needed, story};

/// Faults in which something is lost or mixed up.
pub const FAULTS: [&str; 13] = [
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
    "shifted_by_one",
    "other_conversation",
];
/// Faults so small that a computation may not show them: an answer has only so many bits, and a row that it hardly looks at
/// moves none of them.
const SMALL: [&str; 2] = ["one_row_of_one_layer", "32_rows_of_one_layer"];
/// No fault at all.
pub const CONTROL: &str = "rows_swapped_alike";

/// What became of one kind of trial.
#[derive(Default)]
struct Row {
    trials: u32,
    caught: u32,
    caught_across: u32,
    least: f64,
    least_across: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_backend_is_found_out() {
    let Some((worker, model)) = needed() else { return };
    let (lengths, trials): (&[usize], usize) = if full() { (&[300, 1000, 4000], 20) } else { (&[300], 2) };
    let mut table: BTreeMap<(usize, &str, &str), Row> = BTreeMap::new();
    let mut false_alarms = Vec::new();
    for tokens in lengths {
        let n_ctx = u32::try_from(*tokens).unwrap() + 512;
        let saver = Worker::new(&worker, &model, Settings::of(n_ctx, 2)).await;
        let same = Worker::new(&worker, &model, Settings::of(n_ctx, 2)).await;
        let across = Worker::new(&worker, &model, Settings::of(n_ctx, 1)).await;
        // The conversation whose cells get mixed up with those of the others.
        saver.say(&story(*tokens, 99), Vec::new()).await;
        let (_, other) = saver.export().await;
        for bench in [&saver, &same, &across] {
            fs::write(bench.mutation.with_file_name("mutation.other"), &other).unwrap();
        }
        for trial in 0..trials {
            saver.say(&story(*tokens, trial), Vec::new()).await;
            let (honest, bytes) = saver.export().await;
            let judged = |bench: &Worker, reference: &Exported, restored: &Restored| {
                let state = bench.info.state.as_ref().unwrap();
                assert_eq!(restored.fault, None, "only the challenge may tell");
                let reference = rig::reference(reference, &saver);
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
                        let (equal, far) = judged(bench, &exported, &restored);
                        // What a tolerance would make of it, where equality cannot be demanded.
                        let passed = if here { equal } else { far <= TOLERANCE };
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

/// Where the challenge ends: what one probe and both of them tell of the smallest faults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_faults_are_told_as_far_as_a_computation_can() {
    let Some((worker, model)) = needed() else { return };
    let (lengths, trials): (&[usize], usize) = if full() { (&[300, 1000, 4000], 20) } else { (&[300], 1) };
    println!("| tokens | fault | caught by the probe that is asked | by either of the two |");
    println!("|---|---|---|---|");
    for tokens in lengths {
        let settings = Settings::of(u32::try_from(*tokens).unwrap() + 512, 2);
        let saver = Worker::new(&worker, &model, settings).await;
        let bench = Worker::new(&worker, &model, settings).await;
        let mut caught: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for trial in 0..trials {
            saver.say(&story(*tokens, trial), Vec::new()).await;
            let (exported, image) = saver.export().await;
            let reference = rig::reference(&exported, &saver);
            let state = bench.info.state.as_ref().unwrap();
            let asked = questions(&reference, &state.class, &state.controls);
            for fault in SMALL.into_iter().chain(["none"]) {
                bench.set("import", fault);
                let restored = bench.restore(&exported, &image).await;
                assert_eq!(restored.fault, None, "only the challenge may tell");
                let differs = |probe: &[TokenId]| {
                    let then = exported.fingerprints.iter().find(|then| then.probe == probe).unwrap();
                    restored.fingerprints.iter().any(|now| now.probe == probe && now.hash != then.hash)
                };
                let (one, either) = caught.entry(fault).or_default();
                *one += u32::from(asked.iter().any(|probe| differs(probe)));
                *either += u32::from(exported.fingerprints.iter().any(|then| differs(&then.probe)));
            }
        }
        for (fault, (one, either)) in &caught {
            println!("| {tokens} | {fault} | {one}/{trials} | {either}/{trials} |");
        }
        assert_eq!(caught["none"], (0, 0), "an honest state was refused");
        for bench in [saver, bench] {
            bench.engine.shutdown().await;
        }
    }
}
