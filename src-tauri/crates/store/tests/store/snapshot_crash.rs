//! A process killed at any moment of a save, an eviction, an opening: what is listed is whole.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use reprise_store::{SnapshotId, SnapshotStore};

use crate::child::{Spawned, command, stepped_states};
use crate::states::{State, assert_clean, assert_is, open_saying};
use crate::support::Place;

#[test]
fn a_kill_between_any_two_steps_leaves_whole_snapshots() {
    let [first, second] = stepped_states();
    let mut steps = Vec::new();
    let mut collected = 0;
    for round in 0.. {
        let place = Place::new();
        let mut child = Spawned::start(command("save_step_by_step", place.data().root())).unwrap();
        let mut saved: Vec<(SnapshotId, usize)> = Vec::new();
        let mut at = String::new();
        let mut heard = 0;
        // It waits before each step; killed there, it has done the one before.
        while heard <= round {
            at = child.next().expect("the child ended by itself");
            match at.split(' ').collect::<Vec<_>>()[..] {
                ["saved", id, tokens] => saved.push((id.parse().unwrap(), tokens.parse().unwrap())),
                ["end"] => break,
                _ => heard += 1,
            }
            if heard <= round && !at.starts_with("saved") {
                child.go_on();
            }
        }
        child.kill();
        let writer = place.writer();
        let (store, opening) = open_saying(&writer);
        assert_eq!(opening.recreated, None, "killed before {at}");
        collected += opening.orphans_collected;
        assert_clean(&store);
        let list = store.list().unwrap();
        // Until it is pruned, the last one that was saved is there, and only that.
        let expected = if ["give back", "clear", "end"].contains(&at.as_str()) { None } else { saved.last() };
        assert_eq!(
            list.iter().map(|row| row.id).collect::<Vec<_>>(),
            Vec::from_iter(expected.map(|one| one.0))
        );
        if let Some((id, tokens)) = expected {
            let state = if *tokens == first.tokens.len() { &first } else { &second };
            assert_is(&store, *id, state);
        }
        if at == "end" {
            break;
        }
        steps.push(at);
    }
    for step in
        ["open", "begin", "missing", "put", "commit", "touch", "quarantine", "prune", "give back", "clear"]
    {
        assert!(steps.iter().any(|at| at == step), "never killed before {step}");
    }
    assert!(collected > 0, "no kill left a chunk behind");
}

/// Numbers without a pattern. Marsaglia, "Xorshift RNGs", 2003.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// `REPRISE_SOAK` multiplies rounds and time.
#[test]
fn a_kill_at_any_moment_leaves_whole_snapshots() {
    let soak: u32 = std::env::var("REPRISE_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (rounds, limit) = (40 * soak, Duration::from_secs(20) * soak);
    let place = Place::new();
    let begun = Instant::now();
    let mut random = Xorshift(0x9E37_79B9_7F4A_7C15 ^ u64::from(soak));
    let mut met: HashMap<String, usize> = HashMap::new();
    let (mut orphans, mut listed, mut done) = (0, 0, 0);
    while done < rounds && begun.elapsed() < limit {
        let mut child = Spawned::start(command("save_and_evict_forever", place.data().root())).unwrap();
        let mut told = HashMap::new();
        let mut last = String::new();
        let mut hear = |line: String| {
            if let ["saved", id, seed, tokens] = line.split(' ').collect::<Vec<_>>()[..]
                && let (Ok(id), Ok(seed), Ok(tokens)) =
                    (id.parse::<SnapshotId>(), seed.parse(), tokens.parse())
            {
                told.insert(id, (seed, tokens));
            }
            line
        };
        for _ in 0..=random.next(60) {
            last = hear(child.next().expect("the child ended by itself"));
        }
        // Waits for nothing: the moment of the kill is what is tried out.
        thread::sleep(Duration::from_micros(random.next(4_000)));
        child.kill();
        while let Some(line) = child.next() {
            last = hear(line);
        }
        *met.entry(last.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
        let writer = place.writer();
        let (store, opening) = open_saying(&writer);
        assert_eq!(opening.recreated, None);
        orphans += opening.orphans_collected;
        listed += check(&store, &told);
        done += 1;
    }
    assert!(done >= 5, "only {done} rounds in {limit:?}");
    assert!(orphans > 0 && listed > 0, "{orphans} orphans, {listed} snapshots, {met:?}");
}

/// Everything is whole; and where the child said what it saved, it is that.
fn check(store: &SnapshotStore, told: &HashMap<SnapshotId, (u32, u32)>) -> usize {
    assert_clean(store);
    let list = store.list().unwrap();
    for row in &list {
        let manifest = store.manifest(row.id).unwrap();
        let state = State::of(manifest.tokens);
        assert_is(store, row.id, &state);
        if let Some((seed, tokens)) = told.get(&row.id) {
            assert_eq!(state.tokens, State::new(*seed, *tokens).tokens);
        }
    }
    list.len()
}
