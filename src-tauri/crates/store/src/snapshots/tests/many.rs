//! A library of 10,000 conversations, each with a snapshot.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::*;
use crate::snapshots::manifest::Sealed;
use crate::snapshots::save::{insert, put};
use crate::{PREFIX_TOKENS, SnapshotOrder};

const MANY: u32 = 10_000;

fn conversation(n: u32) -> ConversationId {
    ConversationId::new(Timestamp::from_millis(u64::from(n)), 7)
}

fn node(n: u32) -> NodeId {
    NodeId::new(Timestamp::from_millis(u64::from(n)), 8)
}

fn name(n: u32) -> SnapshotId {
    SnapshotId::new(Timestamp::from_millis(u64::from(n)), 9)
}

fn identity(n: u32) -> std::collections::BTreeMap<String, String> {
    [("model".to_owned(), format!("m{}", n % 3))].into()
}

/// All begin with the same system prompt.
fn tokens(n: u32) -> Vec<i32> {
    (0..).take(PREFIX_TOKENS).chain([n, n, n]).map(u32::cast_signed).collect()
}

/// Two pieces each: one that all share, and one of its own.
fn fill(store: &mut SnapshotStore) {
    let layout = Layout::opaque(128);
    let specs = Split::with_target(&layout, 64).unwrap().chunks;
    assert_eq!(specs.len(), 2);
    for from in (0..MANY).step_by(1_000) {
        let all: Vec<_> = (from..from + 1_000)
            .map(|n| {
                let pieces = [[7; 64], std::array::from_fn(|at| n.to_le_bytes()[at % 4])];
                let at = Timestamp::from_millis(1_000 + u64::from(n));
                let new = NewSnapshot {
                    id: name(n),
                    conversation: conversation(n),
                    node: node(n),
                    identity: identity(n),
                    tokens: tokens(n),
                    layout: layout.clone(),
                    chunks: specs
                        .iter()
                        .cloned()
                        .zip(pieces.iter().map(|piece| ChunkHash::of(piece)))
                        .collect(),
                    image_hash: None,
                    challenge: json!(null),
                    facts: json!(null),
                    created: at,
                    supersede: Vec::new(),
                };
                (new, pieces)
            })
            .collect();
        let key = store.key.clone().unwrap();
        store
            .reader
            .db
            .change(|tx| {
                for (new, pieces) in &all {
                    let batch: Vec<(ChunkHash, &[u8])> =
                        pieces.iter().map(|piece| (ChunkHash::of(piece), &piece[..])).collect();
                    put(tx, &batch)?;
                    let written = new.write()?;
                    let sealed = Sealed {
                        id: new.id,
                        conversation: new.conversation,
                        node: new.node,
                        manifest: &written.manifest,
                        tokens: &written.tokens,
                    };
                    insert(tx, new, &written, &key.fingerprint(), sealed.tag(&key).as_bytes())?;
                }
                Ok(())
            })
            .unwrap();
    }
}

/// Fails where it takes longer than a few times what it should, which is a small part of what it would take
/// if it looked at all snapshots for each.
#[track_caller]
fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    let took = began.elapsed();
    assert!(took < limit, "{took:?}");
    result
}

const AT_ONCE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(5);
const IN_A_WHILE: Duration = Duration::from_secs(8);

#[test]
fn ten_thousand_are_listed_looked_up_verified_mended_and_evicted() {
    let (_dir, writer) = place();
    let mut store = open(&writer);
    fill(&mut store);
    let all: Vec<u32> = (0..MANY).collect();

    assert_eq!(within(AT_ONCE, || store.list().unwrap()).len(), all.len());
    for order in [SnapshotOrder::Size, SnapshotOrder::Age, SnapshotOrder::Used] {
        for offset in [0, 5_000, 9_900] {
            let (rows, total) = within(AT_ONCE, || store.page(order, offset, 100).unwrap());
            assert_eq!((rows.len(), total), (100, MANY));
            // All are of one size, so that each order is that of saving.
            assert_eq!(rows[0].id, name(MANY - 1 - offset));
        }
    }
    let conversations: Vec<ConversationId> = all.iter().copied().map(conversation).collect();
    let briefs = within(SOON, || store.briefs(&conversations).unwrap());
    assert!(
        briefs
            .iter()
            .zip(all.iter().rev())
            .all(|(brief, n)| { (brief.id, &brief.identity) == (name(*n), &identity(*n)) })
    );
    within(IN_A_WHILE, || {
        for n in all.iter().copied() {
            let found = store.candidates(&identity(n), conversation(n), &tokens(n), 4).unwrap();
            assert_eq!((found.len(), found[0].id, found[0].common), (4, name(n), 259));
            let nodes = [node(n + 1), node(n)];
            assert_eq!(store.latest_tokens(conversation(n), &nodes).unwrap(), Some(tokens(n)));
            store.manifest(name(n)).unwrap();
        }
    });
    within(SOON, || {
        for n in 0..100 {
            store.touch(name(n), Timestamp::from_millis(1)).unwrap();
        }
    });
    assert_eq!(store.page(SnapshotOrder::Used, 0, 1).unwrap().0[0].id, name(99));
    within(AT_ONCE, || save(&mut store, 1, 1).unwrap());

    store
        .reader
        .db
        .change(|tx| Ok(tx.execute("UPDATE manifests SET manifest = x'00' WHERE seq % 2", [])?))
        .unwrap();
    store.reader.db.change(|tx| Ok(tx.execute("UPDATE chunks SET refs = refs + 1", [])?)).unwrap();
    let report = within(SOON, || store.verify(|_| ControlFlow::Continue(())).unwrap());
    assert_eq!((report.checked, report.bad.len(), report.ok), (10_001, 5_001, 5_000));
    let bad: Vec<SnapshotId> = report.bad.iter().map(|bad| bad.id).collect();
    within(SOON, || store.mend(&bad).unwrap());
    let report = within(SOON, || store.verify(|_| ControlFlow::Continue(())).unwrap());
    assert!(report.is_ok() && report.orphans == 0 && report.ok == 5_000, "{report:?}");

    drop(store);
    let mut store = within(SOON, || open(&writer));
    let enough = store.total_bytes().unwrap() - (1 << 20);
    let some = within(SOON, || store.prune(enough).unwrap()).evicted;
    let rest = within(SOON, || store.set_budget(0).unwrap()).evicted;
    assert!(!some.is_empty() && some.len() + rest.len() == 5_000, "{}, {}", some.len(), rest.len());
    assert_eq!(store.page(SnapshotOrder::Size, 0, 9).unwrap(), (vec![], 0));
}
