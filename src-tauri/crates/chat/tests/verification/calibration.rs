//! How far honest answers are from one another, and how far wrong ones: what the tolerance and the choice of
//! probes rest on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reprise_chat::challenge::{SEPARATION, TOLERANCE, distance};
use reprise_engine::message::TokenId;
use reprise_engine::state::{Exported, Fingerprint};

use crate::rig::{Settings, Worker, asked, full, needed, story, target};

/// Texts that are tried as probes, the shortest first.
const TEXTS: [&str; 5] =
    ["?", " The", "Topic:", "In one word:", "In one word, the text above is really about"];

/// Distances of one probe, in nats.
#[derive(Default)]
struct Row {
    tokens: usize,
    same: Vec<f64>,
    threads: Vec<f64>,
    batches: Vec<f64>,
    variant: Vec<f64>,
    other: Vec<f64>,
    amnesia: Vec<f64>,
    cost: Vec<f64>,
}

fn most(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(0.0, f64::max)
}

fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The tokens of a text in the middle of others: what a prompt with it has more than one without.
async fn probe(worker: &Worker, text: &str) -> Vec<TokenId> {
    let controls = &worker.info.state.as_ref().unwrap().controls;
    match text {
        "?" => return controls[0].probe.clone(),
        " The" => return controls[1].probe.clone(),
        _ => {}
    }
    let with = worker.engine.prepare(asked(text)).await.unwrap().tokens;
    let without = worker.engine.prepare(asked("Z")).await.unwrap().tokens;
    let same = |a: &mut dyn Iterator<Item = (&TokenId, &TokenId)>| a.take_while(|(a, b)| a == b).count();
    let before = same(&mut with.iter().zip(&without));
    let behind = same(&mut with.iter().rev().zip(without.iter().rev()));
    with[before..with.len() - behind].to_vec()
}

/// The engine's folder with another module for the processor than the best one: hard links, because a program
/// looks for its libraries where it really lies. `None` where there is only one.
fn other_variant(folder: &Path) -> Option<PathBuf> {
    let built = target();
    let wanted = ["libggml-cpu-haswell.so", "libggml-cpu-x64.so"];
    let module = wanted.iter().find(|name| built.join(name).is_file())?;
    for entry in fs::read_dir(&built).ok()? {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let is_cpu = name.starts_with("libggml-cpu-");
        let is_library = name.starts_with("lib") && name.contains(".so");
        let is_program = name.starts_with("reprise-engine-mutant") && !name.contains(".d");
        if (is_library && !is_cpu) || name == *module || is_program {
            // A link of a link has to lead somewhere.
            let real = entry.path().canonicalize().ok()?;
            fs::hard_link(&real, folder.join(&name))
                .or_else(|_| fs::copy(&real, folder.join(&name)).map(drop))
                .ok()?;
        }
    }
    let program = folder.join(format!("reprise-engine-mutant{}", std::env::consts::EXE_SUFFIX));
    program.is_file().then_some(program)
}

struct Subject<'a> {
    same: &'a Worker,
    threads: &'a Worker,
    variant: Option<&'a Worker>,
    probes: &'a [Vec<TokenId>],
}

impl Subject<'_> {
    async fn answers(&self, worker: &Worker, exported: &Exported, bytes: &[u8]) -> Vec<Fingerprint> {
        let restored = worker.restore_and_ask(exported, bytes, self.probes.to_vec()).await;
        assert_eq!(restored.fault, None);
        restored.fingerprints
    }

    /// Takes down one conversation's answers.
    async fn measure(&self, saver: &Worker, texts: [&str; 2], rows: &mut [Row]) {
        let [text, elsewhere] = texts;
        saver.say(elsewhere, Vec::new()).await;
        let (other, other_bytes) = saver.export().await;
        // In two goes: the same tokens, computed in other batches.
        saver.engine.discard().await.unwrap();
        let half = text.char_indices().nth(text.chars().count() * 2 / 3).unwrap().0;
        saver.say(&text[..half], Vec::new()).await;
        saver.say(text, Vec::new()).await;
        let (batches, batches_bytes) = saver.export().await;
        saver.engine.discard().await.unwrap();
        saver.say(text, Vec::new()).await;
        let (exported, bytes) = saver.export().await;
        assert_eq!(batches.tokens, exported.tokens);

        let then = self.answers(self.same, &exported, &bytes).await;
        for fingerprint in &exported.fingerprints {
            let found = then.iter().find(|then| then.probe == fingerprint.probe);
            assert_eq!(found, Some(fingerprint), "restored is live, bit for bit");
        }
        let again = self.answers(self.same, &exported, &bytes).await;
        let threads = self.answers(self.threads, &exported, &bytes).await;
        let in_batches = self.answers(self.same, &batches, &batches_bytes).await;
        let others = self.answers(self.same, &other, &other_bytes).await;
        let variant = match self.variant {
            Some(worker) => Some(self.answers(worker, &exported, &bytes).await),
            None => None,
        };
        self.same.set("import", "all");
        let nothing = self.answers(self.same, &exported, &bytes).await;
        self.same.set("-", "-");
        for (index, row) in rows.iter_mut().enumerate() {
            let from = |now: &[Fingerprint]| distance(&then[index], &now[index]);
            row.same.push(from(&again));
            row.threads.push(from(&threads));
            row.batches.push(from(&in_batches));
            row.other.push(from(&others));
            row.variant.extend(variant.as_deref().map(from));
            let controls = &self.same.info.state.as_ref().unwrap().controls;
            let control = controls.iter().find(|control| control.probe == then[index].probe);
            row.amnesia
                .push(control.map_or_else(|| from(&nothing), |control| distance(&then[index], control)));
            let one = vec![self.probes[index].clone()];
            row.cost.push(self.same.restore_and_ask(&exported, &bytes, one).await.challenge_ms);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_answers_are_near_and_wrong_ones_far() {
    let Some((program, model)) = needed() else { return };
    let (lengths, trials): (&[usize], usize) = if full() { (&[300, 1000, 4000], 6) } else { (&[300], 1) };
    let mut table: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
    let folder = tempfile::tempdir().unwrap();
    let variant = other_variant(folder.path());
    for length in lengths {
        let n_ctx = u32::try_from(*length).unwrap() + 512;
        let saver = Worker::new(&program, &model, Settings::of(n_ctx, 2)).await;
        let same = Worker::new(&program, &model, Settings::of(n_ctx, 2)).await;
        let threads = Worker::new(&program, &model, Settings::of(n_ctx, 1)).await;
        let variant = match &variant {
            Some(program) => Some(Worker::new(program, &model, Settings::of(n_ctx, 2)).await),
            None => None,
        };
        if let Some(variant) = &variant {
            assert_ne!(variant.info.state, same.info.state, "it computes with another module");
        }
        let mut probes = Vec::new();
        for text in TEXTS {
            probes.push(probe(&same, text).await);
        }
        let rows = table.entry(*length).or_default();
        rows.extend(probes.iter().map(|probe| Row { tokens: probe.len(), ..Row::default() }));
        let subject = Subject { same: &same, threads: &threads, variant: variant.as_ref(), probes: &probes };
        for trial in 0..trials {
            let prose = format!(
                "{} The harbour master wrote every ship into a book, with its flag, its cargo and the weather. ",
                "Nobody in the town had seen the lighthouse dark before that night in October. "
                    .repeat(length / 20)
            );
            subject.measure(&saver, [&story(*length, trial), &prose], rows).await;
        }
        for worker in [Some(saver), Some(same), Some(threads), variant].into_iter().flatten() {
            worker.engine.shutdown().await;
        }
    }
    println!(
        "| tokens | probe | its tokens | same | other threads ≤ | other batches ≤ | other module ≤ | other conversation ≥ | amnesia ≥ | asked in |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (length, rows) in &table {
        for (row, text) in rows.iter().zip(TEXTS) {
            let module =
                if row.variant.is_empty() { "-".to_owned() } else { format!("{:.4}", most(&row.variant)) };
            println!(
                "| {length} | `{text}` | {} | {:.4} | {:.4} | {:.4} | {module} | {:.3} | {:.3} | {:.1} ms |",
                row.tokens,
                most(&row.same),
                most(&row.threads),
                most(&row.batches),
                least(&row.other),
                least(&row.amnesia),
                least(&row.cost)
            );
        }
    }
    for row in table.values().flatten() {
        assert!(most(&row.same) == 0.0, "the same state answers the same");
    }
    // The probes that are asked: what is honest lies within the tolerance, and what is wrong far outside of it
    // by the one that tells most, which is the one that is asked where equality is demanded.
    for rows in table.values().map(|rows| &rows[..2]) {
        for row in rows {
            assert!(most(&row.threads).max(most(&row.batches)) <= TOLERANCE);
            assert!(least(&row.other) > 2.0 * TOLERANCE, "{}", least(&row.other));
        }
        let amnesia = rows.iter().map(|row| least(&row.amnesia)).fold(0.0, f64::max);
        assert!(amnesia >= SEPARATION * TOLERANCE, "{amnesia}");
    }
}
