//! States out of the live context and back into it, byte by byte, and what is refused on the way.

use std::time::Duration;

use reprise_engine::message::{CacheKind, ChatMessage, GenerateSpec, Role, TokenId};
use reprise_engine::qualify::QualifySpec;
use reprise_engine::state::{Exported, ImageId, ImageTable, Pieces, RestoreSpec, Restored};
use reprise_engine::{EngineError, Fault};
use tokio::sync::mpsc;

use crate::kinds::{KINDS, tiny_models};
use crate::rig::{Answer, GEMMA, Rig, SMOLLM2, ask, ask_knowing, fault, long_text, model, say, user};

const FIRST: &str = "Which river is the longest, and through which lands does it flow?";

fn next(answer: &Answer) -> Vec<ChatMessage> {
    vec![
        say(Role::User, FIRST),
        say(Role::Assistant, &answer.text),
        say(Role::User, "And which is the second longest?"),
    ]
}

fn piece(offset: u64, len: u64) -> Pieces {
    let mut pieces = Pieces::default();
    pieces.push(offset, len);
    pieces
}

/// All bytes of chunks of an image.
async fn fetch(rig: &Rig, image: ImageId, chunks: Vec<Pieces>) -> Result<Vec<u8>, EngineError> {
    let (sink, mut frames) = mpsc::channel::<Vec<u8>>(4);
    let came = async {
        let mut came = Vec::new();
        while let Some(frame) = frames.recv().await {
            came.extend(frame);
        }
        came
    };
    let (shipped, came) = tokio::join!(rig.engine.ship(image, chunks, sink), came);
    shipped.map(|()| came)
}

async fn whole(rig: &Rig, exported: &Exported) -> Vec<u8> {
    fetch(rig, exported.image, vec![piece(0, exported.table.len)]).await.unwrap()
}

/// Sends bytes as these chunks of an image of `len` bytes, in frames that fit none of them.
async fn send(rig: &Rig, len: u64, chunks: Vec<Pieces>, bytes: &[u8]) -> Result<(), EngineError> {
    let (frames, source) = mpsc::channel(2);
    let sent = async {
        for part in bytes.chunks(65_537) {
            // An error: it was refused already.
            let _ = frames.send(part.to_vec()).await;
        }
        drop(frames);
    };
    tokio::join!(rig.engine.receive(len, chunks, source), sent).0
}

async fn put(rig: &Rig, bytes: &[u8]) {
    let len = bytes.len() as u64;
    send(rig, len, vec![piece(0, len)], bytes).await.unwrap();
}

fn spec(exported: &Exported) -> RestoreSpec {
    RestoreSpec {
        tokens: exported.tokens.clone(),
        table: exported.table.clone(),
        probes: exported.fingerprints.iter().map(|fingerprint| fingerprint.probe.clone()).collect(),
    }
}

async fn restore(rig: &Rig, spec: RestoreSpec) -> Restored {
    rig.engine.restore(spec).await.unwrap()
}

/// A worker in mid-conversation: its answer, its state, and the bytes of it.
async fn talked(rig: &Rig) -> (Answer, Exported, Vec<u8>) {
    let answer = rig.ask(ask(user(FIRST), 24)).await;
    let exported = rig.engine.export().await.unwrap();
    let bytes = whole(rig, &exported).await;
    (answer, exported, bytes)
}

#[tokio::test]
async fn a_state_comes_back_bit_for_bit_and_goes_on_as_if_nothing_had_been() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let (answer, exported, bytes) = talked(&rig).await;
    assert_eq!(bytes.len() as u64, exported.table.len);
    assert!(!exported.fingerprints.is_empty() && !exported.table.regions.is_empty());
    // Uninterrupted, beside it: to have exported must not have changed anything either.
    let uninterrupted = Rig::with(&smollm2).await;
    let same = uninterrupted.ask(ask(user(FIRST), 24)).await;
    assert_eq!(same.tokens, answer.tokens);
    let follow = |answer: &Answer| ask_knowing(next(answer), &answer.all_tokens(), 16);
    let expected = uninterrupted.ask(follow(&answer)).await;

    for round in ["live", "in the same worker", "in a new worker"] {
        let other = Rig::start();
        let rig = if round == "in a new worker" { &other } else { &rig };
        if round == "in a new worker" {
            rig.load(&smollm2).await;
        }
        if round != "live" {
            rig.engine.discard().await.unwrap();
            put(rig, &bytes).await;
            let restored = restore(rig, spec(&exported)).await;
            assert_eq!(restored.fault, None, "{round}");
            assert_eq!(restored.fingerprints, exported.fingerprints, "{round}");
            rig.engine.accept().await.unwrap();
        }
        let went_on = rig.ask(follow(&answer)).await;
        assert_eq!(went_on.prepared().reused as usize, exported.tokens.len(), "{round}");
        assert_eq!(went_on.tokens, expected.tokens, "{round}");
        // Every bit of what the cache holds now, too.
        let after = rig.engine.export().await.unwrap();
        let reference = uninterrupted.engine.export().await.unwrap();
        assert_eq!(after.fingerprints, reference.fingerprints, "{round}");
        assert!(whole(rig, &after).await == whole(&uninterrupted, &reference).await, "{round}");
    }
}

#[tokio::test]
async fn chunks_are_hashed_and_sent_as_they_are_asked_for() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let (_, exported, bytes) = talked(&rig).await;
    // Every other ten bytes, the end, and one byte: in this order.
    let mut comb = Pieces::default();
    (0..50).for_each(|index| comb.push(100 + index * 20, 10));
    let end = piece(exported.table.len - 7, 7);
    let chunks = vec![comb.clone(), end.clone(), piece(3, 1)];
    let picked: Vec<Vec<u8>> = chunks
        .iter()
        .map(|chunk| {
            let at = |n: u64| usize::try_from(n).unwrap();
            chunk.spans().flat_map(|(offset, len)| bytes[at(offset)..at(offset + len)].to_vec()).collect()
        })
        .collect();
    let hashes = rig.engine.hash(exported.image, chunks.clone()).await.unwrap();
    let own: Vec<String> = picked.iter().map(|chunk| blake3::hash(chunk).to_hex().to_string()).collect();
    assert_eq!(hashes, own);
    assert_eq!(fetch(&rig, exported.image, chunks).await.unwrap(), picked.concat());

    // The same image put together from two chunks that lie interleaved in it.
    let step = exported.table.len / 8;
    let (mut even, mut odd) = (Pieces::default(), Pieces::default());
    for index in 0..8 {
        let len = if index == 7 { exported.table.len - 7 * step } else { step };
        (if index % 2 == 0 { &mut even } else { &mut odd }).push(index * step, len);
    }
    let chunks = vec![odd, even];
    let apart = fetch(&rig, exported.image, chunks.clone()).await.unwrap();
    send(&rig, exported.table.len, chunks, &apart).await.unwrap();
    let restored = restore(&rig, spec(&exported)).await;
    assert_eq!(restored.fingerprints, exported.fingerprints, "{restored:?}");
}

#[tokio::test]
async fn nothing_is_answered_from_a_state_on_trial() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let (answer, exported, bytes) = talked(&rig).await;
    put(&rig, &bytes).await;
    restore(&rig, spec(&exported)).await;
    let on_trial = fault(rig.engine.export().await);
    assert!(
        matches!(&on_trial, Fault::StateUnavailable { detail } if detail.contains("on trial")),
        "{on_trial:?}"
    );
    let prepared = rig.engine.prepare(ask_knowing(next(&answer), &answer.all_tokens(), 4)).await.unwrap();
    assert_eq!(prepared.live, 0);
    let went_on = rig.ask(ask_knowing(next(&answer), &answer.all_tokens(), 4)).await;
    assert_eq!(went_on.prepared().reused, 0);
    // It is gone, and cannot be accepted after all.
    assert_eq!(fault(rig.engine.accept().await).code(), "state_unavailable");
    // Accepted once, it is live; there is nothing to accept a second time.
    put(&rig, &bytes).await;
    restore(&rig, spec(&exported)).await;
    rig.engine.accept().await.unwrap();
    assert_eq!(fault(rig.engine.accept().await).code(), "state_unavailable");
}

#[tokio::test]
async fn a_state_that_is_not_what_it_is_said_to_be_is_refused_and_leaves_nothing() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let (answer, exported, bytes) = talked(&rig).await;
    let good = spec(&exported);
    let mut moved = bytes.clone();
    // The position of the second cell: behind four numbers, and twelve bytes of the first.
    moved[28..32].copy_from_slice(&7_i32.to_le_bytes());
    let mut alien = bytes.clone();
    alien[..4].copy_from_slice(b"GGUF");
    let table = |change: &dyn Fn(&mut ImageTable)| {
        let mut table = exported.table.clone();
        change(&mut table);
        RestoreSpec { table, ..good.clone() }
    };
    let tokens = |tokens: Vec<TokenId>| RestoreSpec { tokens, ..good.clone() };
    let fewer = exported.tokens[1..].to_vec();
    let cases: Vec<(&str, &[u8], RestoreSpec)> = vec![
        ("cut short", &bytes[..bytes.len() - 1], good.clone()),
        ("nothing", &bytes[..1], good.clone()),
        ("a cell moved", &moved, good.clone()),
        ("no state at all", &alien, good.clone()),
        (
            "another field",
            &bytes,
            table(&|table| {
                table.fields.insert("image.layout".to_owned(), "other".to_owned());
            }),
        ),
        ("another length", &bytes, table(&|table| table.len += 1)),
        (
            "a region less",
            &bytes,
            table(&|table| {
                table.regions.pop();
            }),
        ),
        ("fewer tokens", &bytes, tokens(fewer)),
        ("no tokens", &bytes, tokens(Vec::new())),
        ("unknown tokens", &bytes, tokens(vec![TokenId(i32::MAX); exported.tokens.len()])),
        ("negative tokens", &bytes, tokens(vec![TokenId(-1); exported.tokens.len()])),
    ];
    let pid = rig.pid().await;
    for (what, bytes, spec) in cases {
        put(&rig, bytes).await;
        let refused = restore(&rig, spec).await;
        assert!(refused.fault.is_some() && refused.fingerprints.is_empty(), "{what}: {refused:?}");
        assert_eq!(fault(rig.engine.accept().await).code(), "state_unavailable", "{what}");
        let prepared = rig.engine.prepare(ask(next(&answer), 1)).await.unwrap();
        assert_eq!(prepared.live_total, 0, "{what}");
    }
    // An image is used once, and only what arrived.
    assert_eq!(fault(rig.engine.restore(good.clone()).await), Fault::ImageGone);
    put(&rig, &bytes).await;
    rig.engine.discard().await.unwrap();
    assert_eq!(fault(rig.engine.restore(good.clone()).await), Fault::ImageGone);
    // After all that a good one is still good.
    put(&rig, &bytes).await;
    assert_eq!(restore(&rig, good.clone()).await.fingerprints, exported.fingerprints);
    assert_eq!(fault(rig.engine.restore(good).await), Fault::ImageGone, "a good one too is used once");
    assert_eq!(rig.pid().await, pid, "nobody died of it");
}

#[tokio::test]
async fn pieces_that_are_wrong_are_refused_and_cost_no_worker() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let (_, exported, bytes) = talked(&rig).await;
    let (pid, len, image) = (rig.pid().await, exported.table.len, exported.image);
    let beyond = [piece(len, 1), piece(0, len + 1), piece(u64::MAX, 2), piece(5, 0)];
    for pieces in beyond {
        assert_eq!(fault(rig.engine.hash(image, vec![pieces.clone()]).await).code(), "bad_pieces");
        if pieces.bytes() < 100 {
            assert_eq!(fault(fetch(&rig, image, vec![pieces]).await).code(), "bad_pieces");
        }
    }
    let unknown = ImageId(image.0 ^ 1);
    assert_eq!(fault(rig.engine.hash(unknown, vec![piece(0, 1)]).await), Fault::ImageGone);
    assert_eq!(fault(fetch(&rig, unknown, vec![piece(0, 1)]).await), Fault::ImageGone);
    // Old bytes must not shine through a gap, nor be overwritten.
    for chunks in [vec![piece(0, len - 1)], vec![piece(0, 9), piece(8, len - 8)], vec![piece(1, len - 1)]] {
        let sent: u64 = chunks.iter().map(Pieces::bytes).sum();
        let filler = vec![7; usize::try_from(sent).unwrap()];
        assert_eq!(fault(send(&rig, len, chunks, &filler).await).code(), "bad_pieces");
    }
    // A source that ends early gives the image up.
    let half = send(&rig, len, vec![piece(0, len)], &bytes[..bytes.len() / 2]).await;
    assert_eq!(fault(half).code(), "cancelled");
    assert_eq!(fault(rig.engine.restore(spec(&exported)).await), Fault::ImageGone);
    // What comes after is not mistaken for the rest of what came before.
    put(&rig, &bytes).await;
    assert_eq!(restore(&rig, spec(&exported)).await.fingerprints, exported.fingerprints);
    rig.engine.release(image).await.unwrap();
    assert_eq!(fault(rig.engine.hash(image, vec![piece(0, 1)]).await), Fault::ImageGone);
    assert_eq!(rig.pid().await, pid);
}

#[tokio::test]
async fn a_state_is_only_given_where_there_is_one() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::start();
    assert_eq!(fault(rig.engine.export().await), Fault::NotLoaded);
    rig.load(&smollm2).await;
    let empty = fault(rig.engine.export().await);
    assert_eq!(empty.code(), "state_unavailable", "{empty:?}");
    // To the last token, so that no question fits behind it.
    let n_ctx = 1024;
    let prompt = rig.ask(ask(user(&long_text(800)), 0)).await.prompt.len();
    let full = rig.ask(ask(user(&long_text(800)), n_ctx - u32::try_from(prompt).unwrap())).await;
    if full.prompt.len() + full.tokens.len() >= n_ctx as usize {
        assert_eq!(fault(rig.engine.export().await).code(), "state_unavailable");
    }
}

#[tokio::test]
async fn what_an_export_overwrites_is_used_once_it_is_accepted() {
    let Some(gemma) = model(GEMMA) else { return };
    let rig = Rig::start();
    rig.load(&gemma).await;
    let question = ask(user(&long_text(700)), 4);
    let before = rig.ask(question.clone()).await;
    let exported = rig.engine.export().await.unwrap();
    let twice = exported.overwritten.as_ref().unwrap();
    assert_eq!(
        (&twice.before.probe, &twice.after),
        (&exported.fingerprints[0].probe, &exported.fingerprints[0])
    );
    assert_eq!(fault(rig.engine.export().await).code(), "state_unavailable", "it is on trial");
    assert_eq!(
        rig.engine.prepare(question.clone()).await.unwrap().live_total,
        0,
        "never accepted, never used"
    );

    let again = rig.ask(question.clone()).await;
    assert_eq!(again.tokens, before.tokens);
    let exported = rig.engine.export().await.unwrap();
    rig.engine.accept().await.unwrap();
    let prompt = rig.engine.prepare(question).await.unwrap();
    assert_eq!(prompt.live_total as usize, exported.tokens.len());
    // Taken twice, it is the same: what is live is what was set.
    let twice = rig.engine.export().await.unwrap();
    assert_eq!((twice.fingerprints, twice.tokens), (exported.fingerprints, exported.tokens));
}

#[tokio::test]
async fn states_of_every_kind_survive() {
    let rig = Rig::start();
    let Some(folder) = tiny_models() else { return };
    let mut models: Vec<_> = KINDS.iter().map(|(name, ..)| folder.join(name)).collect();
    models.extend([model(SMOLLM2), model(GEMMA)].into_iter().flatten());
    for path in models {
        let info = rig.load(&path).await;
        let found = rig.engine.qualify(QualifySpec::default()).await.unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        println!("{name}: {found:?}");
        assert_eq!(found.fault, None, "{name}");
        assert!(found.repeatable && found.challenge_kl < 0.05 && found.mean_kl < 0.05, "{name}: {found:?}");
        assert!(found.control_kl > 1.0 && found.same_tokens == found.steps, "{name}: {found:?}");
        // Only a window puts restored cells elsewhere.
        assert!(found.identical || info.cache == CacheKind::SlidingWindow, "{name}: {found:?}");
        assert_ne!(info.state.unwrap().fields["image.layout"], "unknown", "{name}");
    }
}

#[tokio::test]
async fn a_state_taken_within_a_prompt_proves_itself_and_answers_go_on_from_it() {
    let Some(folder) = tiny_models() else { return };
    let mut models: Vec<_> = ["window", "recurrent", "hybrid"]
        .iter()
        .map(|kind| folder.join(format!("tiny-{kind}.gguf")))
        .collect();
    models.extend(model(GEMMA));
    for path in models {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (rig, again) = (Rig::start(), Rig::start());
        rig.load(&path).await;
        again.load(&path).await;
        let question = ask(user(&long_text(600)), 12);
        let prompt = rig.engine.prepare(question.clone()).await.unwrap();
        let len = prompt.tokens.len();
        assert!(
            (prompt.keeps as usize) < len && prompt.keeps as usize + 40 > len,
            "{name}: {} of {len}",
            prompt.keeps
        );
        let first = rig.ask(GenerateSpec { checkpoint: true, ..question.clone() }).await;
        assert_eq!(first.prompt.len(), len, "{name}");
        let exported = rig.engine.export().await.unwrap();
        rig.engine.accept().await.unwrap();
        let within = exported.checkpoint.unwrap();
        assert_eq!(within.tokens, prompt.tokens[..prompt.keeps as usize], "{name}");
        assert_eq!(within.proof.before.probe, prompt.tokens[prompt.keeps as usize..], "{name}");
        if !name.contains("window") && !name.contains("gemma") {
            assert_eq!(within.proof.before, within.proof.after, "{name}");
        }
        assert_ne!(within.fingerprints, exported.fingerprints, "{name}");

        let bytes = fetch(&rig, within.image, vec![piece(0, within.table.len)]).await.unwrap();
        let mut answers = Vec::new();
        // In the worker that took it, in another, and from the text.
        for (engine, restored) in [(&rig, true), (&again, true), (&again, false)] {
            engine.engine.discard().await.unwrap();
            if restored {
                let probes = within.fingerprints.iter().map(|print| print.probe.clone()).collect();
                let spec = RestoreSpec { tokens: within.tokens.clone(), table: within.table.clone(), probes };
                put(engine, &bytes).await;
                let restored = engine.engine.restore(spec).await.unwrap();
                assert_eq!((restored.fault, &restored.fingerprints), (None, &within.fingerprints), "{name}");
                engine.engine.accept().await.unwrap();
            }
            let answer = engine.ask(question.clone()).await;
            let prepared = answer.prepared.clone().unwrap();
            assert_eq!(prepared.reused as usize, if restored { within.tokens.len() } else { 0 }, "{name}");
            answers.push(answer.tokens);
        }
        assert!(answers.iter().all(|tokens| *tokens == first.tokens), "{name}: {answers:?}");
    }
}

#[tokio::test]
async fn a_comparison_costs_nothing_that_is_live_and_ends_when_nobody_waits() {
    let Some(gemma) = model(GEMMA) else { return };
    let rig = Rig::start();
    assert_eq!(fault(rig.engine.qualify(QualifySpec::default()).await), Fault::NotLoaded);
    rig.load(&gemma).await;
    let question = ask(user(&long_text(300)), 4);
    rig.ask(question.clone()).await;
    let live = rig.engine.prepare(question.clone()).await.unwrap().live_total;
    rig.engine.qualify(QualifySpec { tokens: 64, steps: 4 }).await.unwrap();
    let long = rig.engine.qualify(QualifySpec { tokens: 30_000, steps: 4 });
    assert!(tokio::time::timeout(Duration::from_millis(300), long).await.is_err(), "it takes minutes");
    // Answered as soon as a batch is done, not after minutes.
    let prompt = tokio::time::timeout(Duration::from_mins(1), rig.engine.prepare(question)).await.unwrap();
    assert_eq!(prompt.unwrap().live_total, live);
}
