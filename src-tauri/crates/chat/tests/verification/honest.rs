//! Honest states are never refused in their own class, whatever the conversation and the settings.

use std::collections::BTreeMap;

use reprise_chat::challenge::{TOLERANCE, distance, judge, questions};
use reprise_engine::message::KvType;
use reprise_engine::state::{Exported, Restored};

use crate::kinds::models;
use crate::rig::{Dice, Settings, Worker, full, needed, reference, story};

/// Restores of one conversation: into a fresh worker, into one with a larger context, into the one that saved.
const PLACES: usize = 3;

#[derive(Default)]
struct Seen {
    restores: u32,
    refused: u32,
    across: u32,
    equal: u32,
    beyond: u32,
    furthest: f64,
}

/// A conversation of random length, computed in random steps; sometimes one that was cut back in between.
async fn converse(worker: &Worker, dice: &mut Dice, longest: usize) {
    worker.engine.discard().await.unwrap();
    let text = story(8 + dice.below(longest), dice.below(1 << 20));
    let at =
        |dice: &mut Dice| text.char_indices().nth(dice.below(text.chars().count()).max(1)).map_or(1, |c| c.0);
    for _ in 0..dice.below(3) {
        let end = at(dice);
        worker.say(&text[..end], Vec::new()).await;
    }
    if dice.below(3) == 0 {
        // Something else is said and taken back: the cache is trimmed.
        let end = at(dice);
        worker.say(&format!("{} {}", &text[..end], story(20, dice.below(1 << 20))), Vec::new()).await;
    }
    worker.say(&text, Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_states_are_never_refused() {
    let Some((program, model)) = needed() else { return };
    let models = models(&model);
    let (wanted, longest) = if full() { (2016, 600) } else { (8 * 9, 150) };
    let conversations = if full() { 12 } else { 3 };
    let mut dice = Dice(20_261_123);
    let mut table: BTreeMap<String, Seen> = BTreeMap::new();
    let mut done = 0;
    while done < wanted {
        // Each in its turn; the real ones as often as each of the tiny ones.
        let (name, model) = &models[done / (conversations * PLACES) % models.len()];
        let kv = if dice.below(3) == 0 { KvType::Q8_0 } else { KvType::F16 };
        let threads = 1 + u32::try_from(dice.below(2)).unwrap();
        let n_ctx = 1536 + u32::try_from(dice.below(6)).unwrap() * 256;
        let settings = Settings { kv, ..Settings::of(n_ctx, threads) };
        let saver = Worker::new(&program, model, settings).await;
        let fresh = Worker::new(&program, model, settings).await;
        let larger = Worker::new(&program, model, Settings { n_ctx: n_ctx + 1024, ..settings }).await;
        let across = Worker::new(&program, model, Settings { threads: 3 - threads, ..settings }).await;
        let seen = table.entry(format!("{name}, {}, {threads} threads", kv.as_str())).or_default();
        for _ in 0..conversations {
            converse(&saver, &mut dice, longest).await;
            let (exported, bytes) = saver.export().await;
            let verdict = |worker: &Worker, restored: &Restored| {
                assert_eq!(restored.fault, None, "{settings:?}");
                let state = worker.info.state.as_ref().unwrap();
                let then = reference(&exported, &saver);
                let asked = questions(&then, &state.class, &state.controls);
                let answers = restored.fingerprints.iter().filter(|now| asked.contains(&&*now.probe));
                let answers: Vec<_> = answers.cloned().collect();
                judge(&then, &state.class, &answers, &state.controls)
            };
            for worker in [&fresh, &larger, &saver] {
                let restored = worker.restore(&exported, &bytes).await;
                let verdict = verdict(worker, &restored);
                seen.restores += 1;
                seen.refused += u32::from(!verdict.passed);
                if !verdict.passed {
                    println!("refused: {settings:?}, {} tokens: {}", exported.tokens.len(), verdict.detail);
                }
            }
            let restored = across.restore(&exported, &bytes).await;
            seen.across += 1;
            seen.equal += u32::from(verdict(&across, &restored).passed);
            let apart = furthest(&exported, &restored);
            seen.beyond += u32::from(apart > TOLERANCE);
            seen.furthest = seen.furthest.max(apart);
        }
        done += conversations * PLACES;
        for worker in [saver, fresh, larger, across] {
            worker.engine.shutdown().await;
        }
    }
    println!(
        "| model and settings at saving | restored | refused | with other threads | equal | beyond {TOLERANCE} | furthest |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (settings, seen) in &table {
        let Seen { restores, refused, across, equal, beyond, furthest } = seen;
        println!("| {settings} | {restores} | {refused} | {across} | {equal} | {beyond} | {furthest:.4} |");
    }
    assert_eq!(table.values().map(|seen| seen.refused).sum::<u32>(), 0);
}

fn furthest(exported: &Exported, restored: &Restored) -> f64 {
    let pairs = exported.fingerprints.iter().zip(&restored.fingerprints);
    pairs.map(|(then, now)| distance(then, now)).fold(0.0, f64::max)
}
