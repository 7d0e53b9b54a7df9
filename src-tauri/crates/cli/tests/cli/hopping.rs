//! A person who hops between more conversations than the cache of states holds: every answer is what it would have been
//! without any snapshot's help, and the receipts say how each came about.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::Value;

use crate::dice::Dice;
use crate::place::{Place, run, text};
use crate::states::opening;

const CONVERSATIONS: u64 = 8;
/// States that fit at a time.
const ROOM: u64 = 5;
/// Steps in a round of the tests, and in a long one.
const STEPS: u32 = 40;
const LONG: u32 = 200;
/// Tokens of an answer.
const ANSWER: u32 = 4;

/// One turn as it was taken.
struct Taken {
    prompt: String,
    node: String,
    tokens: Value,
    /// Whether the conversation was read from its text for it: a run without snapshots begins here.
    replayed: bool,
}

#[derive(Default)]
struct Thread {
    id: String,
    turns: Vec<Taken>,
}

fn step(place: &Place, thread: &mut Thread, prompt: String) -> String {
    let before = ["--conversation", thread.id.as_str()];
    let turn = place.chat(&prompt, ANSWER, if thread.turns.is_empty() { &[] } else { &before });
    text(&turn["conversation"]).clone_into(&mut thread.id);
    let receipt = &turn["receipt"];
    let [total, reused, decoded] =
        ["tokens_total", "tokens_reused", "tokens_decoded"].map(|key| receipt[key].as_u64().unwrap());
    assert_eq!(reused + decoded, total, "{receipt}");
    assert!(turn["saved"].is_object(), "{turn}");
    let path = text(&receipt["path"]).to_owned();
    match path.as_str() {
        "fresh" => assert!(thread.turns.is_empty() && reused == 0, "{receipt}"),
        "restored" => assert!(reused > 256 && receipt["bytes_read"].as_u64() > Some(0), "{receipt}"),
        "replayed" => {
            assert_eq!((reused, &receipt["reason"]["code"]), (0, &"no_snapshot".into()), "{receipt}");
        }
        other => panic!("{other}: {receipt}"),
    }
    let node = text(&turn["node"]).to_owned();
    let replayed = path != "restored";
    thread.turns.push(Taken { prompt, node, tokens: turn["token_ids"].clone(), replayed });
    path
}

/// The same turns without snapshots: each stretch from a reading of the text on in one process, where the context lives on.
fn without_snapshots(place: &Place, thread: &Thread) {
    let begins: Vec<usize> = (0..thread.turns.len()).filter(|index| thread.turns[*index].replayed).collect();
    for (stretch, begin) in begins.iter().enumerate() {
        let end = begins.get(stretch + 1).copied().unwrap_or(thread.turns.len());
        let turns = &thread.turns[*begin..end];
        let prompts: Vec<&str> = turns.iter().map(|turn| turn.prompt.as_str()).collect();
        let mut extra = vec!["--no-snapshots"];
        if let Some(before) = begin.checked_sub(1).map(|index| &thread.turns[index]) {
            extra.extend(["--conversation", &thread.id, "--parent", &before.node]);
        }
        let said = run(&mut place.chat_command(&prompts, ANSWER, &extra)).success();
        let said = match said["turns"].as_array() {
            Some(turns) => turns.clone(),
            None => vec![said],
        };
        for (turn, said) in turns.iter().zip(said) {
            assert_eq!(turn.tokens, said["token_ids"], "{}: {}", turn.prompt, said["receipt"]);
        }
    }
}

#[test]
fn hopping_between_conversations_changes_no_answer() {
    let Some(place) = Place::with_model() else { return };
    let steps = if std::env::var_os("REPRISE_SOAK").is_some() { LONG } else { STEPS };
    let mut dice = Dice(20_261_123);
    let mut threads: Vec<Thread> = (0..CONVERSATIONS).map(|_| Thread::default()).collect();
    let mut paths: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..steps {
        // Each once, then as it comes.
        let which =
            if u64::from(number) < CONVERSATIONS { u64::from(number) } else { dice.below(CONVERSATIONS) };
        let thread = &mut threads[usize::try_from(which).unwrap()];
        let prompt = if thread.turns.is_empty() {
            format!("Number {which}. {}", opening())
        } else {
            format!("{number}: and what follows from that?")
        };
        *paths.entry(step(&place, thread, prompt)).or_default() += 1;
        let listed = place.json(["snapshots", "list"]);
        let largest = listed["snapshots"].as_array().unwrap().iter().map(|row| row["state_bytes"].as_u64());
        // What is there beside the states, and half a state for what grows, are counted too.
        let budget = largest.max().flatten().unwrap() * (2 * ROOM + 1) / 2;
        place.json(["snapshots", "prune", "--budget", &budget.to_string()]);
        let kept = place.json(["snapshots", "list"])["snapshots"].as_array().unwrap().len();
        assert!((1..=7).contains(&kept), "{kept} states in the room of {ROOM}");
    }
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "{steps} steps: {paths:?}");
    assert_eq!(paths.values().sum::<u32>(), steps);
    assert_eq!(paths["fresh"], u32::try_from(CONVERSATIONS).unwrap());
    assert!(paths["restored"] > 5 && paths["replayed"] > 2, "{paths:?}");
    for thread in &threads {
        without_snapshots(&place, thread);
    }
}
