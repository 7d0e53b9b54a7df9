//! Parts of the list of snapshots, what marks are made from, and clocks that are set back.

use std::collections::BTreeMap;

use reprise_store::{
    ListedSnapshot, NewSnapshot, SnapshotId, SnapshotOrder, SnapshotReader, SnapshotState, SnapshotStore,
    Timestamp,
};
use rusqlite::Connection;

use crate::states::{KEY, State, budget, conversation, identity, open, save, try_save};
use crate::support::{Place, tick};

fn ids(rows: &[ListedSnapshot]) -> Vec<SnapshotId> {
    rows.iter().map(|row| row.id).collect()
}

#[test]
fn parts_of_the_list_are_the_list_in_each_order() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    // Sizes go up and down, and two are equal.
    let saved: Vec<SnapshotId> = [(1, 30), (2, 10), (3, 20), (4, 10), (5, 40)]
        .map(|(n, tokens)| save(&mut store, conversation(n), &State::new(n, tokens)).id)
        .into();
    store.touch(saved[1], tick()).unwrap();
    store.pin(saved[2]).unwrap();
    store.quarantine(saved[3], "a test").unwrap();
    let order = |places: [usize; 5]| places.map(|place| saved[place]);
    for (by, expected) in [
        (SnapshotOrder::Size, order([4, 0, 2, 3, 1])),
        (SnapshotOrder::Age, order([4, 3, 2, 1, 0])),
        (SnapshotOrder::Used, order([1, 4, 3, 2, 0])),
    ] {
        let mut rows = Vec::new();
        for offset in [0, 2, 4, 6] {
            let (part, total) = store.page(by, offset, 2).unwrap();
            assert_eq!(total, 5);
            rows.extend(part);
        }
        assert_eq!(ids(&rows), expected, "{by:?}");
        assert_eq!(store.page(by, 0, u32::MAX).unwrap().0, rows);
        assert_eq!(store.page(by, 0, 0).unwrap(), (vec![], 5));
        assert_eq!(store.page(by, u32::MAX, 9).unwrap(), (vec![], 5));
    }
    // The same rows as the whole list has.
    let (rows, _) = store.page(SnapshotOrder::Used, 0, 9).unwrap();
    for (row, whole) in rows.iter().zip(store.list().unwrap()) {
        assert_eq!((row.id, row.conversation, row.node), (whole.id, whole.conversation, whole.node));
        assert_eq!((row.n_tokens, row.bytes), (whole.n_tokens, whole.bytes));
        assert_eq!((row.created, row.last_used), (whole.created, whole.last_used));
        assert_eq!((&row.state, row.pinned), (&whole.state, whole.pinned));
    }
    let pinned: Vec<SnapshotId> = rows.iter().filter(|row| row.pinned).map(|row| row.id).collect();
    assert_eq!(pinned, [saved[2]]);
    assert_eq!(
        SnapshotReader::open(&place.data()).unwrap().page(SnapshotOrder::Used, 0, 9).unwrap(),
        (rows, 5)
    );
}

#[test]
fn marks_are_made_from_what_snapshots_say_of_themselves() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let state = State::new(1, 20);
    let first = save(&mut store, conversation(1), &state).id;
    let other = State::new(2, 20);
    let second = NewSnapshot {
        identity: [("model".to_owned(), "def".to_owned())].into(),
        ..other.snapshot(conversation(2))
    };
    try_save(&mut store, &other, &second).unwrap();
    let third = save(&mut store, conversation(1), &state.longer(5));
    save(&mut store, conversation(3), &State::new(3, 20));
    store.pin(first).unwrap();
    store.quarantine(second.id, "a test").unwrap();

    // Asked twice for one, and for one that has none.
    let wanted = [2, 1, 9, 1].map(conversation);
    let briefs = store.briefs(&wanted).unwrap();
    let told: Vec<_> = briefs.iter().map(|brief| (brief.id, brief.n_tokens, brief.pinned)).collect();
    assert_eq!(told, [(third.id, 25, false), (second.id, 20, false), (first, 20, true)]);
    let said: Vec<_> = briefs.iter().map(|brief| brief.identity.clone()).collect();
    assert_eq!(said, [identity(), second.identity.clone(), identity()]);
    assert_eq!(briefs[1].state, SnapshotState::Quarantined { why: "a test".to_owned() });
    assert_eq!((briefs[1].conversation, briefs[1].node), (conversation(2), second.node));
    assert_eq!((briefs[1].bytes, &briefs[0].state), (other.layout.len, &SnapshotState::Ready));
    assert_eq!(store.briefs(&[]).unwrap(), []);
}

/// A description that cannot be read, or that is not the one that its row names, tells nothing of others.
#[test]
fn a_damaged_description_is_no_identity_and_taints_no_other() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let saved = [1, 2, 3].map(|n| save(&mut store, conversation(n), &State::new(n, 20)).id);
    drop(store);
    let conn = Connection::open(place.data().snapshots_db()).unwrap();
    let forged = r#"{"identity": {"model": "forged"}}"#;
    let edits = [
        format!("UPDATE manifests SET manifest = CAST('{forged}' AS BLOB) WHERE seq = 1"),
        "UPDATE manifests SET manifest = x'00' WHERE seq = 2".to_owned(),
    ];
    for sql in edits {
        assert_eq!(conn.execute(&sql, []).unwrap(), 1);
    }
    drop(conn);
    let store = open(&writer);
    let briefs = store.briefs(&[1, 2, 3].map(conversation)).unwrap();
    let said: BTreeMap<SnapshotId, Option<&str>> =
        briefs.iter().map(|brief| (brief.id, brief.identity.get("model").map(String::as_str))).collect();
    assert_eq!(said, [(saved[0], Some("forged")), (saved[1], None), (saved[2], Some("abc"))].into());
}

/// What is saved or used last is first in every list and last to go, whatever the clock says.
#[test]
fn a_clock_that_is_set_back_hides_nothing_and_evicts_nothing_new() {
    let place = Place::new();
    let writer = place.writer();
    let (mut store, _) = SnapshotStore::open(&writer, budget(5_600_000), KEY, tick()).unwrap();
    let at = |ms: u64, n: u32, state: &State| NewSnapshot {
        created: Timestamp::from_millis(ms),
        ..state.snapshot(conversation(n))
    };
    let year = 365 * 86_400_000;
    let states: Vec<State> = (1..=4).map(|n| State::new(n, 125)).collect();
    let mut saved = Vec::new();
    // A year ahead, then set right.
    for (n, (state, ms)) in (1..).zip(states.iter().zip([2 * year, 2 * year + 1, year, year + 1])) {
        let new = at(ms, n, state);
        saved.push(try_save(&mut store, state, &new).unwrap().id);
    }
    let listed = |store: &SnapshotStore| -> Vec<SnapshotId> {
        store.list().unwrap().iter().map(|row| row.id).collect()
    };
    assert_eq!(listed(&store), [saved[3], saved[2], saved[1], saved[0]]);
    assert_eq!(store.page(SnapshotOrder::Age, 0, 9).unwrap().0[0].created, Timestamp::from_millis(year + 1));
    // Used by the right clock, which is behind all of them.
    store.touch(saved[0], Timestamp::from_millis(year + 2)).unwrap();
    assert_eq!(listed(&store), [saved[0], saved[3], saved[2], saved[1]]);
    // There is room for four.
    let fifth = State::new(5, 125);
    let new = at(year + 3, 5, &fifth);
    assert_eq!(try_save(&mut store, &fifth, &new).unwrap().evicted, [saved[1]]);
    assert_eq!(store.prune(3_000_000).unwrap().evicted[..2], [saved[2], saved[3]]);
    assert_eq!(listed(&store)[0], new.id);
}

/// Only the most recent ones of a conversation are compared with a prompt.
#[test]
fn among_many_of_one_conversation_the_newest_is_found_by_a_clock_set_back() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    for n in 0..130 {
        let state = State::of(vec![9_000 + n]).in_small_chunks();
        try_save(&mut store, &state, &state.snapshot(conversation(1))).unwrap();
    }
    let state = State::new(1, 20).in_small_chunks();
    let new = NewSnapshot { created: Timestamp::from_millis(1), ..state.snapshot(conversation(1)) };
    try_save(&mut store, &state, &new).unwrap();
    let found = store.candidates(&identity(), conversation(1), &state.tokens, 1).unwrap();
    assert_eq!((found[0].id, found[0].common), (new.id, 20));
    assert_eq!(store.briefs(&[conversation(1)]).unwrap()[0].id, new.id);
    assert_eq!(store.latest_tokens(conversation(1), &[new.node]).unwrap(), Some(state.tokens));
}
