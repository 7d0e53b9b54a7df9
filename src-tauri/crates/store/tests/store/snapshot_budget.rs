//! What snapshots may take of the disk: what goes, what stays, what is not even begun; and what erasing leaves.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reprise_store::{Begun, Budget, SnapshotId, SnapshotOrder, SnapshotStore};

use crate::states::{KEY, State, assert_clean, assert_is, budget, conversation, open, save, try_save};
use crate::support::{Place, tick};

/// Each about 1 MB, with nothing in common.
fn state(seed: u32) -> State {
    State::new(seed, 125)
}

fn ids(store: &SnapshotStore) -> Vec<SnapshotId> {
    store.list().unwrap().iter().map(|row| row.id).collect()
}

fn file_bytes(place: &Place) -> u64 {
    fs::metadata(place.data().snapshots_db()).unwrap().len()
}

#[test]
fn the_default_is_a_fifth_of_the_free_space_up_to_20_gb() {
    assert_eq!(Budget::default_bytes(50_000_000_000), 10_000_000_000);
    assert_eq!(Budget::default_bytes(500_000_000_000), 20_000_000_000);
    assert_eq!(Budget::default_bytes(0), 0);
}

#[test]
fn the_least_recently_used_goes_but_never_a_pinned_one_nor_the_newest() {
    let place = Place::new();
    let writer = place.writer();
    let (mut store, _) = SnapshotStore::open(&writer, budget(5_600_000), KEY, tick()).unwrap();
    let four: Vec<SnapshotId> = (1..=4).map(|n| save(&mut store, conversation(n), &state(n)).id).collect();
    assert_eq!(store.list().unwrap().len(), 4);
    store.pin(four[0]).unwrap();
    store.touch(four[1], tick()).unwrap();
    // Room for four: the third is the one that was neither pinned nor used.
    let saved = save(&mut store, conversation(5), &state(5));
    assert_eq!(saved.evicted, [four[2]]);
    assert_eq!(ids(&store), [saved.id, four[1], four[3], four[0]]);
    assert!(store.total_bytes().unwrap() <= 5_600_000);
    // A quarantined one goes before all others.
    store.quarantine(saved.id, "a test").unwrap();
    let next = save(&mut store, conversation(6), &state(6));
    assert_eq!(next.evicted, [saved.id]);
    let pruned = store.prune(0).unwrap();
    assert_eq!(pruned.evicted, [four[3], four[1], next.id]);
    assert!(pruned.bytes > 3_000_000);
    assert_eq!(ids(&store), [four[0]]);
    store.unpin(four[0]).unwrap();
    assert_eq!(store.prune(0).unwrap().evicted, [four[0]]);
    assert_clean(&store);
}

#[test]
fn a_state_above_half_the_budget_is_asked_about() {
    let place = Place::new();
    let writer = place.writer();
    let (mut store, _) = SnapshotStore::open(&writer, budget(1_000_000), KEY, tick()).unwrap();
    assert!(matches!(store.begin_save(500_000).unwrap(), Begun::Save(_)));
    let begun = store.begin_save(500_001).unwrap();
    assert!(matches!(begun, Begun::TooLarge { bytes: 500_001, budget: 1_000_000 }), "{begun:?}");
}

#[test]
fn nothing_is_evicted_for_a_save_that_pinned_ones_leave_no_room_for() {
    let place = Place::new();
    let writer = place.writer();
    let (mut store, _) = SnapshotStore::open(&writer, budget(3_500_000), KEY, tick()).unwrap();
    let pinned = [1, 2].map(|n| save(&mut store, conversation(n), &state(n)).id);
    for id in pinned {
        store.pin(id).unwrap();
    }
    let free = save(&mut store, conversation(3), &State::new(3, 20)).id;
    let big = State::new(4, 180);
    let error = try_save(&mut store, &big, &big.snapshot(conversation(4))).unwrap_err();
    assert_eq!(error.code(), "budget_full", "{error}");
    assert_eq!(ids(&store), [free, pinned[1], pinned[0]]);
}

#[test]
fn the_newest_stays_even_where_it_alone_is_too_much() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let first = save(&mut store, conversation(1), &state(1)).id;
    let second = state(2);
    let new = second.snapshot(conversation(2));
    let Begun::Save(mut going_on) = store.begin_save(second.layout.len).unwrap() else { panic!() };
    for (_, hash, bytes) in second.chunks() {
        store.put_chunks(&mut going_on, &[(hash, &bytes)]).unwrap();
    }
    // The user chooses a smaller budget in the middle of a save.
    assert_eq!(store.set_budget(500_000).unwrap().evicted, [first]);
    assert_eq!(store.commit(going_on, &new).unwrap().evicted, []);
    assert_is(&store, new.id, &second);
    assert_clean(&store);
}

#[test]
fn a_budget_of_zero_keeps_nothing_that_is_not_pinned() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let two = [1, 2].map(|n| save(&mut store, conversation(n), &state(n)).id);
    store.pin(two[0]).unwrap();
    assert_eq!(store.set_budget(0).unwrap().evicted, [two[1]]);
    assert_eq!(store.prune(0).unwrap().evicted, []);
    // A pinned one is still good, and nothing is written.
    assert_is(&store, two[0], &state(1));
    let begun = store.begin_save(1).unwrap();
    assert!(matches!(begun, Begun::TooLarge { bytes: 1, budget: 0 }), "{begun:?}");
    store.unpin(two[0]).unwrap();
    assert_eq!(store.prune(0).unwrap().evicted, [two[0]]);
    assert_eq!((ids(&store), store.page(SnapshotOrder::Size, 0, 10).unwrap()), (vec![], (vec![], 0)));
    assert_clean(&store);
    drop(store);
    // So it opens, and a larger one saves again.
    let (mut store, _) = SnapshotStore::open(&writer, budget(0), KEY, tick()).unwrap();
    assert_eq!(store.set_budget(10_000_000).unwrap().evicted, []);
    save(&mut store, conversation(1), &state(1));
    assert_clean(&store);
}

#[test]
fn a_pin_passes_to_the_snapshot_that_supersedes() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let short = state(1);
    let first = save(&mut store, conversation(1), &short).id;
    store.pin(first).unwrap();
    let long = short.longer(10);
    let mut new = long.snapshot(conversation(1));
    new.supersede = vec![first];
    let second = try_save(&mut store, &long, &new).unwrap().id;
    let list = store.list().unwrap();
    assert!(list.len() == 1 && list[0].id == second && list[0].pinned);
}

#[test]
fn a_low_disk_refuses_and_leaves_what_is_there() {
    let place = Place::new();
    let writer = place.writer();
    let free = Arc::new(AtomicU64::new(10_000_000));
    let told = Arc::clone(&free);
    let low = Budget {
        bytes: 1 << 30,
        keep_free: 5_000_000,
        free_disk: Arc::new(move || Some(told.load(Ordering::Relaxed))),
    };
    let (mut store, _) = SnapshotStore::open(&writer, low, KEY, tick()).unwrap();
    let first = save(&mut store, conversation(1), &state(1)).id;
    // Enough to begin, but not for the chunks.
    free.store(5_500_000, Ordering::Relaxed);
    let second = state(2);
    let error = try_save(&mut store, &second, &second.snapshot(conversation(2))).unwrap_err();
    let said = "5.5 MB are free on the disk, 5.0 MB are to stay free, and it needs 1.0 MB more";
    assert!(error.code() == "disk_low" && error.to_string().contains(said), "{error}");
    free.store(4_000_000, Ordering::Relaxed);
    assert_eq!(store.begin_save(1).unwrap_err().code(), "disk_low");
    assert_is(&store, first, &state(1));
    // What a dropped snapshot leaves in the file is space too.
    store.drop_snapshot(first).unwrap();
    store.collect_orphans(usize::MAX).unwrap();
    free.store(4_400_000, Ordering::Relaxed);
    save(&mut store, conversation(1), &State::new(1, 10));
    free.store(5_000_000, Ordering::Relaxed);
    save(&mut store, conversation(2), &State::new(2, 100));
    assert_clean(&store);
}

#[test]
fn space_goes_back_to_the_disk_in_steps() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    for n in 1..=80 {
        save(&mut store, conversation(n), &state(n));
    }
    store.prune(1_000_000).unwrap();
    drop(store);
    let before = file_bytes(&place);
    assert!(before > 80_000_000);
    let mut store = open(&writer);
    let rest = store.give_back_space(3_000_000).unwrap();
    assert!(rest > 10_000_000, "{rest}");
    assert_eq!(store.give_back_space(u64::MAX).unwrap(), 0);
    drop(store);
    // Some is kept for the next save.
    let after = file_bytes(&place);
    assert!(after < 70_000_000, "{after}");
    let mut store = open(&writer);
    store.clear().unwrap();
    assert!(file_bytes(&place) < 1_000_000);
    assert_clean(&store);
}

/// After a conversation was erased, neither its tokens nor its rows are anywhere in the folder.
#[test]
fn an_erased_conversation_leaves_no_bytes_behind() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    let secret = State::new(7, 200);
    let needles: Vec<Vec<u8>> = std::iter::once(secret.tokens.iter().flat_map(|t| t.to_le_bytes()).collect())
        .chain(secret.chunks().into_iter().map(|(_, _, bytes)| bytes[100..164].to_vec()))
        .collect();
    let found = |place: &Place| -> usize {
        let files =
            fs::read_dir(place.data().root()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let all: Vec<Vec<u8>> = files.collect();
        needles
            .iter()
            .filter(|needle| {
                all.iter().any(|file| file.windows(needle.len()).any(|bytes| bytes == &needle[..]))
            })
            .count()
    };
    save(&mut store, conversation(1), &state(1));
    let evicted = save(&mut store, conversation(7), &secret).id;
    save(&mut store, conversation(2), &state(2));
    assert_eq!(found(&place), needles.len());
    // Evicted before, so that its pages are free but not empty; a damaged file set aside; and saved again.
    store.drop_snapshot(evicted).unwrap();
    save(&mut store, conversation(7), &secret);
    fs::write(place.path("data/snapshots.db.damaged-19700101T000000Z"), needles.concat()).unwrap();
    let dropped = store.drop_conversation(conversation(7)).unwrap();
    assert!(dropped.snapshots == 1 && dropped.journal_erased);
    assert_eq!(found(&place), 0);
    assert_eq!(store.list().unwrap().len(), 2);
    assert_clean(&store);
}
