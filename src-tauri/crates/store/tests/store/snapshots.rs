//! Snapshots saved, found, shared and dropped.

use std::fs;
use std::ops::ControlFlow;

use reprise_store::{Begun, ChunkHash, Damage, SnapshotReader, SnapshotState};

use crate::states::{
    State, assert_clean, assert_is, conversation, identity, open, open_saying, restore, save, try_save,
};
use crate::support::{Place, tick};

#[test]
fn a_state_comes_back_as_it_was_saved() {
    let place = Place::new();
    let writer = place.writer();
    let (mut store, opening) = open_saying(&writer);
    assert!(opening.new_key && opening.recreated.is_none());
    let state = State::new(1, 300);
    let new = state.snapshot(conversation(1));
    let saved = try_save(&mut store, &state, &new).unwrap();
    assert_eq!((saved.chunks_new, saved.chunks_shared), (4, 0));
    assert_eq!(saved.bytes_written, state.layout.len);
    assert_is(&store, saved.id, &state);
    assert_clean(&store);

    // Beside the writer, on another connection, and after it was closed.
    let reader = store.another().unwrap();
    assert_is(&reader, saved.id, &state);
    drop((store, reader));
    let (store, opening) = open_saying(&writer);
    assert_eq!(opening, reprise_store::SnapshotOpening::default());
    let (manifest, _) = restore(&store, saved.id).unwrap();
    assert_eq!((manifest.challenge, manifest.facts), (new.challenge, new.facts));
    assert_eq!((manifest.identity, manifest.created, manifest.node), (new.identity, new.created, new.node));
    assert_is(&SnapshotReader::open(&place.data()).unwrap(), saved.id, &state);
}

#[test]
fn a_longer_state_writes_only_what_is_new() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let short = State::new(1, 256);
    let first = save(&mut store, conversation(1), &short);
    let long = short.longer(128);
    let mut new = long.snapshot(conversation(1));
    new.supersede = vec![first.id];
    let second = try_save(&mut store, &long, &new).unwrap();
    // Two full blocks are shared; one block and the head are new.
    assert_eq!((second.chunks_new, second.chunks_shared), (2, 2));
    assert!(second.bytes_written < 128 * 8_192 + 16 * 1_024, "{second:?}");
    let list = store.list().unwrap();
    assert_eq!(list.iter().map(|row| row.id).collect::<Vec<_>>(), [second.id]);
    assert_eq!(list[0].own_bytes, long.layout.len);
    assert_is(&store, second.id, &long);
    assert_clean(&store);
}

#[test]
fn dropping_one_of_two_that_share_keeps_the_other() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let trunk = State::new(1, 512);
    let (left, right) = (trunk.longer(40), State::of([&trunk.tokens[..], &[9, 9, 9]].concat()));
    let left_id = save(&mut store, conversation(1), &left).id;
    let right_id = save(&mut store, conversation(2), &right).id;
    let before = store.total_bytes().unwrap();
    assert!(store.drop_snapshot(left_id).unwrap());
    assert!(!store.drop_snapshot(left_id).unwrap());
    assert!(store.total_bytes().unwrap() < before);
    assert_is(&store, right_id, &right);
    assert_clean(&store);
    assert_eq!(store.conversations().unwrap(), [conversation(2)]);
    let dropped = store.drop_conversation(conversation(2)).unwrap();
    assert!(dropped.snapshots == 1 && dropped.journal_erased && dropped.bytes >= right.layout.len);
    assert_eq!(store.list().unwrap(), []);
    assert_clean(&store);
}

#[test]
fn nothing_of_an_unfinished_save_is_visible() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let state = State::new(1, 300);
    let chunks = state.chunks();
    let batch: Vec<(ChunkHash, &[u8])> = chunks.iter().map(|(_, hash, bytes)| (*hash, &bytes[..])).collect();
    let Begun::Save(mut going_on) = store.begin_save(state.layout.len).unwrap() else { panic!() };
    store.put_chunks(&mut going_on, &batch[..2]).unwrap();
    assert_eq!(store.list().unwrap(), []);
    // Protected while it goes on, and only then.
    assert_eq!(store.collect_orphans(10).unwrap(), 0);
    let error = store.commit(going_on, &state.snapshot(conversation(1))).unwrap_err();
    assert_eq!(error.code(), "chunk_missing", "{error}");
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(store.collect_orphans(10).unwrap(), 2);
    assert_clean(&store);

    let Begun::Save(mut wrong) = store.begin_save(1).unwrap() else { panic!() };
    let error = store.put_chunks(&mut wrong, &[(batch[0].0, batch[1].1)]).unwrap_err();
    assert_eq!(error.code(), "snapshot_refused");
    assert_eq!(store.missing(&mut wrong, &[batch[0].0]).unwrap(), [true]);
}

#[test]
fn what_a_save_counts_on_stays_until_it_ends() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let short = State::new(1, 256);
    let first = save(&mut store, conversation(1), &short).id;
    let long = short.longer(60);
    let chunks = long.chunks();
    let hashes: Vec<ChunkHash> = chunks.iter().map(|chunk| chunk.1).collect();
    let Begun::Save(mut going_on) = store.begin_save(long.layout.len).unwrap() else { panic!() };
    let missing = store.missing(&mut going_on, &hashes).unwrap();
    assert_eq!(missing, [false, false, true, true]);
    // What holds them goes, and the save is told nothing of it.
    store.drop_snapshot(first).unwrap();
    store.prune(0).unwrap();
    for ((_, hash, bytes), missing) in chunks.iter().zip(missing) {
        if missing {
            store.put_chunks(&mut going_on, &[(*hash, bytes)]).unwrap();
        }
    }
    let id = store.commit(going_on, &long.snapshot(conversation(1))).unwrap().id;
    assert_is(&store, id, &long);
    assert_clean(&store);
}

#[test]
fn a_reader_of_nothing_makes_nothing() {
    let place = Place::new();
    let data = place.data();
    let reader = SnapshotReader::open(&data).unwrap();
    assert_eq!((reader.list().unwrap(), reader.conversations().unwrap()), (vec![], vec![]));
    assert_clean(&reader.another().unwrap());
    assert_eq!(fs::read_dir(data.root()).unwrap().count(), 0);
}

#[test]
fn what_is_not_there_is_said_not_to_be() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let id = State::new(1, 1).snapshot(conversation(1)).id;
    assert_eq!(store.manifest(id), Err(Damage::Gone));
    assert_eq!(store.touch(id, tick()).unwrap_err().code(), "not_found");
    assert_eq!(
        store.pin(id).unwrap_err().to_string(),
        format!("There is no snapshot {id}. It may have been deleted.")
    );
    assert!(!store.drop_snapshot(id).unwrap());
    assert_eq!(store.drop_conversation(conversation(1)).unwrap().snapshots, 0);
}

#[test]
fn a_check_can_be_watched_and_stopped() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let states = [State::new(1, 150), State::new(2, 140)];
    states.iter().zip(1..).for_each(|(state, n)| drop(save(&mut store, conversation(n), state)));
    let mut seen = Vec::new();
    let report = store
        .verify(|now| {
            seen.push((now.checked, now.of, now.bytes));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(
        (report.checked, report.ok, report.bytes),
        (2, 2, states[0].layout.len + states[1].layout.len)
    );
    assert_eq!((seen.len(), seen[0].0, seen[5]), (6, 0, (1, 2, report.bytes)));
    let stopped = store.verify(|_| ControlFlow::Break(())).unwrap();
    assert!(stopped.cancelled && !stopped.is_ok() && stopped.checked == 0);
}

#[test]
fn a_name_is_given_once() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let state = State::new(1, 20);
    let new = state.snapshot(conversation(1));
    try_save(&mut store, &state, &new).unwrap();
    let error = try_save(&mut store, &state, &new).unwrap_err();
    assert_eq!(error.code(), "snapshot_refused", "{error}");
    assert_is(&store, new.id, &state);
    assert_clean(&store);
}

#[test]
fn candidates_are_the_longest_common_beginning_first() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let trunk = State::new(1, 300);
    let short = save(&mut store, conversation(1), &trunk).id;
    let long = save(&mut store, conversation(1), &trunk.longer(100)).id;
    let branch = State::of([&trunk.tokens[..280], &[5; 40]].concat());
    let branch = save(&mut store, conversation(2), &branch).id;
    save(&mut store, conversation(3), &State::new(3, 300));

    let prompt = trunk.longer(200).tokens;
    let found = store.candidates(&identity(), conversation(1), &prompt, 10).unwrap();
    let told: Vec<_> = found.iter().map(|one| (one.id, one.common, one.n_tokens)).collect();
    assert_eq!(told, [(long, 400, 400), (short, 300, 300), (branch, 280, 320)]);
    assert!(found.iter().all(|one| one.identity_differs.is_none() && one.state == SnapshotState::Ready));
    assert_eq!(store.candidates(&identity(), conversation(1), &prompt, 1).unwrap().len(), 1);
    // Too short to be found across conversations.
    assert_eq!(store.candidates(&identity(), conversation(9), &prompt[..255], 9).unwrap(), []);
    assert_eq!(store.candidates(&identity(), conversation(9), &prompt[..256], 9).unwrap().len(), 3);

    let mut other = identity();
    other.insert("model".to_owned(), "def".to_owned());
    let found = store.candidates(&other, conversation(1), &prompt, 10).unwrap();
    assert_eq!(found[0].identity_differs.as_deref(), Some("model"));
    other = identity();
    other.insert("adapter".to_owned(), "x".to_owned());
    let found = store.candidates(&other, conversation(1), &prompt, 10).unwrap();
    assert_eq!(found[0].identity_differs.as_deref(), Some("adapter"));

    store.quarantine(long, "the engine died").unwrap();
    let found = store.candidates(&identity(), conversation(1), &prompt, 1).unwrap();
    assert_eq!(found[0].state, SnapshotState::Quarantined { why: "the engine died".to_owned() });
}
