//! Random lives of a store against a model of it: what is listed, in which order things go, who holds what.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use reprise_store::{Begun, ChunkHash, SnapshotId, SnapshotStore};

use crate::states::{State, assert_clean, assert_is, conversation, open, try_save};
use crate::support::{Place, tick};

#[derive(Debug, Clone)]
enum Step {
    /// A new conversation, or the longer state of one that is there, superseding it or not.
    Save {
        base: Option<Index>,
        more: u32,
        supersede: bool,
    },
    /// A save that stops after some chunks.
    Abandon {
        more: u32,
        chunks: usize,
    },
    Drop(Index),
    Touch(Index),
    Pin(Index, bool),
    Quarantine(Index),
    /// To this many hundredths of what is used.
    Prune(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        5 => (any::<Option<Index>>(), 1_u32..20, any::<bool>())
            .prop_map(|(base, more, supersede)| Step::Save { base, more, supersede }),
        1 => (1_u32..20, 0_usize..4).prop_map(|(more, chunks)| Step::Abandon { more, chunks }),
        2 => index().prop_map(Step::Drop),
        1 => index().prop_map(Step::Touch),
        1 => (index(), any::<bool>()).prop_map(|(which, pin)| Step::Pin(which, pin)),
        1 => index().prop_map(Step::Quarantine),
        1 => (0_u64..100).prop_map(Step::Prune),
        1 => Just(Step::Reopen),
    ]
}

struct Kept {
    state: State,
    /// Quarantined ones go first, then by last use, then by age.
    order: (bool, u64, usize),
    pinned: bool,
    conversation: u32,
}

#[derive(Default)]
struct Model {
    kept: BTreeMap<SnapshotId, Kept>,
    seeds: u32,
    saves: usize,
}

impl Model {
    fn pick(&self, which: Index) -> Option<SnapshotId> {
        (!self.kept.is_empty()).then(|| *which.get(&self.kept.keys().collect::<Vec<_>>()).to_owned())
    }

    fn change(&mut self, which: Index) -> Option<(SnapshotId, &mut Kept)> {
        let id = self.pick(which)?;
        Some((id, self.kept.get_mut(&id).unwrap()))
    }

    fn save(&mut self, store: &mut SnapshotStore, base: Option<SnapshotId>, more: u32, supersede: bool) {
        let (state, of) = if let Some(kept) = base.map(|id| &self.kept[&id]) {
            (kept.state.longer(more), kept.conversation)
        } else {
            self.seeds += 1;
            (State::new(self.seeds, more), self.seeds)
        };
        let state = state.in_small_chunks();
        let mut new = state.snapshot(conversation(of));
        new.supersede = base.filter(|_| supersede).into_iter().collect();
        let id = try_save(store, &state, &new).unwrap().id;
        let pinned = new.supersede.iter().any(|id| self.kept.remove(id).unwrap().pinned);
        self.saves += 1;
        let order = (true, new.created.as_millis(), self.saves);
        self.kept.insert(id, Kept { state, order, pinned, conversation: of });
    }

    fn prune(&mut self, store: &mut SnapshotStore, hundredths: u64) {
        let target = store.total_bytes().unwrap() * hundredths / 100;
        let evicted = store.prune(target).unwrap().evicted;
        let mut expected: Vec<_> = self.kept.iter().filter(|(_, kept)| !kept.pinned).collect();
        expected.sort_by_key(|(_, kept)| kept.order);
        let expected: Vec<SnapshotId> = expected.into_iter().map(|(id, _)| *id).collect();
        assert_eq!(evicted, expected[..evicted.len()]);
        // No more went than had to.
        assert!(store.total_bytes().unwrap() <= target || evicted.len() == expected.len());
        for id in evicted {
            self.kept.remove(&id);
        }
    }

    fn check(&self, store: &SnapshotStore) {
        let list = store.list().unwrap();
        assert_eq!(list.len(), self.kept.len());
        for row in &list {
            let kept = &self.kept[&row.id];
            assert_eq!((row.bytes, row.pinned), (kept.state.layout.len, kept.pinned));
        }
        let report = store.verify(|_| std::ops::ControlFlow::Continue(())).unwrap();
        assert!(report.is_ok(), "{report:?}");
    }
}

fn abandon(store: &mut SnapshotStore, state: &State, chunks: usize) {
    let Begun::Save(mut save) = store.begin_save(state.layout.len).unwrap() else { panic!() };
    let all = state.chunks();
    let batch: Vec<(ChunkHash, &[u8])> =
        all.iter().take(chunks).map(|(_, hash, bytes)| (*hash, &bytes[..])).collect();
    store.put_chunks(&mut save, &batch).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_what_the_model_says(steps in prop::collection::vec(step(), 1..25)) {
        let place = Place::new();
        let writer = place.writer();
        let mut store = open(&writer);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Save { base, more, supersede } => {
                    let base = base.and_then(|base| model.pick(base));
                    model.save(&mut store, base, more, supersede);
                }
                Step::Abandon { more, chunks } => {
                    abandon(&mut store, &State::new(9_000 + more, more).in_small_chunks(), chunks);
                }
                Step::Drop(which) => if let Some(id) = model.pick(which) {
                    prop_assert!(store.drop_snapshot(id).unwrap());
                    model.kept.remove(&id);
                },
                Step::Touch(which) => if let Some((id, kept)) = model.change(which) {
                    let now = tick();
                    store.touch(id, now).unwrap();
                    kept.order.1 = now.as_millis();
                },
                Step::Pin(which, pin) => if let Some((id, kept)) = model.change(which) {
                    if pin { store.pin(id).unwrap() } else { store.unpin(id).unwrap() }
                    kept.pinned = pin;
                },
                Step::Quarantine(which) => if let Some((id, kept)) = model.change(which) {
                    store.quarantine(id, "a test").unwrap();
                    kept.order.0 = false;
                },
                Step::Prune(hundredths) => model.prune(&mut store, hundredths),
                Step::Reopen => {
                    drop(store);
                    store = open(&writer);
                    assert_clean(&store);
                }
            }
            model.check(&store);
        }
        for (id, kept) in &model.kept {
            assert_is(&store, *id, &kept.state);
        }
        drop(store);
        assert_clean(&open(&writer));
    }
}
