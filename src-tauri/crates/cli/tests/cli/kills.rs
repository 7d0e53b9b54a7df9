//! `kill -9` at random moments of a turn, a hundred times: every acknowledged message is there, and
//! nothing is half.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use reprise_chat::history::{History, Holder, ListFilter, Message, MessageState, Role, Timestamp};

use crate::dice::Dice;
use crate::place::{Place, model, text};
use crate::processes::{Running, assert_gone};

const KILLS: usize = 100;
/// Some runs end before their moment comes; the machine is not to blame for more than these.
const ROUNDS: usize = 160;
const SEED: u64 = 20_261_123;

/// When to kill: some time after the `nth` line that begins so.
struct Moment {
    line: &'static str,
    nth: usize,
    wait: Duration,
}

impl Moment {
    fn throw(dice: &mut Dice, turns: usize) -> Self {
        // How a line begins, how many of them there may be, milliseconds from there on.
        let (line, lines, ms) = match dice.place(8) {
            0 => ("", 1, 150),
            1 => ("loading ", 10, 30),
            2 => ("kept ", turns, 30),
            3 => ("prompt of ", turns, 200),
            4 | 5 => ("answering ", turns, 250),
            6 => ("finished ", turns, 5),
            _ => ("[", turns, 5),
        };
        let nth = dice.place(lines);
        let wait = Duration::from_millis(ms).mul_f64(dice.place(1000) as f64 / 1000.0);
        Self { line, nth, wait }
    }

    /// Waits for the moment; it may be that the process ends before.
    fn await_in(&self, running: &mut Running) {
        // The first one counts from the start, when nothing was said yet.
        let lines = if self.line.is_empty() { 0 } else { self.nth + 1 };
        for _ in 0..lines {
            while running.line().is_some_and(|line| !line.starts_with(self.line)) {}
        }
        // The moment itself, which is what this test throws dice for.
        thread::sleep(self.wait);
    }
}

/// What a run was doing, by the last thing it said.
fn phase(said: &[String], asked: usize) -> &'static str {
    let finished = said.iter().filter(|line| line.starts_with("finished ")).count();
    let last = said.iter().rev().find_map(|line| {
        let known = ["loading", "kept", "prompt", "read", "answering", "finished", "["];
        known.into_iter().find(|known| line.starts_with(known))
    });
    match last {
        None => "starting",
        Some("loading") => "loading",
        Some("kept" | "prompt" | "read") => "reading the prompt",
        Some("answering") => "answering and saving",
        Some(_) if finished < asked => "between turns",
        Some(_) => "ending",
    }
}

/// What the test was told is safe.
#[derive(Default)]
struct Acknowledged {
    /// Messages by id, with the text that was sent.
    messages: HashMap<String, String>,
    /// Answers that were told to be finished.
    finished: HashSet<String>,
    conversations: Vec<String>,
}

struct Turn {
    message: String,
    prompt: String,
}

/// Reads what one run said; gives the turns that it acknowledged.
fn acknowledge(known: &mut Acknowledged, said: &[String], prompts: &[String]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for line in said {
        if let Some(ids) = line.strip_prefix("kept ") {
            let (conversation, message) = ids.split_once(' ').unwrap();
            if !known.conversations.iter().any(|id| id == conversation) {
                known.conversations.push(conversation.to_owned());
            }
            let prompt = prompts[turns.len()].clone();
            known.messages.insert(message.to_owned(), prompt.clone());
            turns.push(Turn { message: message.to_owned(), prompt });
        }
        if let Some(node) = line.strip_prefix("finished ") {
            known.finished.insert(node.to_owned());
        }
    }
    turns
}

/// All messages, by conversation. Whole: by their hashes, by their parents, by what was acknowledged.
fn check_all(history: &History, known: &Acknowledged) -> Vec<Vec<Message>> {
    let mut trees = Vec::new();
    let mut found: HashMap<String, (String, MessageState)> = HashMap::new();
    for row in history.list(ListFilter::default()).unwrap() {
        let tree = history.messages(row.id).unwrap();
        assert!(!tree.is_empty(), "a conversation begins with its first message");
        let mut ids = HashSet::new();
        for message in &tree {
            assert!(!message.damaged, "{}", message.id);
            assert!(message.parent.is_none_or(|parent| ids.contains(&parent)), "an orphan: {}", message.id);
            ids.insert(message.id);
            match message.role {
                Role::User => assert_eq!(message.state, MessageState::Complete),
                _ => assert!(message.parent.is_some(), "an answer answers something"),
            }
            found.insert(message.id.to_string(), (message.text.clone(), message.state));
        }
        assert!(history.conversation(row.id).unwrap().active_leaf.is_none_or(|leaf| ids.contains(&leaf)));
        trees.push(tree);
    }
    for (id, prompt) in &known.messages {
        let (kept, _) = found.get(id).unwrap_or_else(|| panic!("{id} was kept and is gone"));
        assert_eq!(kept, prompt);
    }
    for id in &known.finished {
        let (_, state) = found.get(id).unwrap_or_else(|| panic!("{id} was finished and is gone"));
        assert_eq!(*state, MessageState::Complete);
    }
    trees
}

/// What was shown and what is kept are the same text, one of them perhaps cut earlier.
fn check_shown(trees: &[Vec<Message>], turns: &[Turn], shown: &[u8]) {
    let all: Vec<&Message> = trees.iter().flatten().collect();
    let mut kept = String::new();
    for turn in turns {
        let asked = all.iter().find(|message| message.id.to_string() == turn.message).unwrap();
        assert_eq!(asked.text, turn.prompt);
        let Some(answer) = all.iter().find(|message| message.parent == Some(asked.id)) else { break };
        kept.push_str(&answer.text);
        if answer.state == MessageState::Complete && !answer.text.is_empty() && !answer.text.ends_with('\n') {
            kept.push('\n');
        }
    }
    let length = kept.len().min(shown.len());
    assert_eq!(
        String::from_utf8_lossy(&shown[..length]),
        String::from_utf8_lossy(&kept.as_bytes()[..length]),
        "kept: {kept:?}, shown: {:?}",
        String::from_utf8_lossy(shown)
    );
}

/// Opens the library as the next program would, and looks at all of it.
fn check_as_writer(place: &Place, known: &Acknowledged) {
    let holder = Holder::this_process("the test", Timestamp::from_millis(1));
    let writer = History::open_writer(&place.data_dir(), &holder).unwrap();
    let report = writer.integrity_check().unwrap();
    assert!(report.is_ok(), "{report:?}");
    for tree in check_all(&writer, known) {
        for message in tree {
            assert_ne!(message.state, MessageState::Streaming, "nothing writes it any more");
        }
    }
}

/// Starts one or two turns in a new conversation or one of the latest, kills it, looks at everything.
/// The phase that it was killed in; `None` where it had ended before.
fn one_round(place: &Place, round: usize, dice: &mut Dice, known: &mut Acknowledged) -> Option<&'static str> {
    let asked = 1 + dice.place(2);
    let prompts: Vec<String> = (0..asked).map(|n| format!("{round}.{n}: 继续 🦀 go on")).collect();
    let mut command = place.command();
    command.args(["-v", "chat", "--max-tokens", "12", "--model"]).arg(model().unwrap());
    for prompt in &prompts {
        command.args(["--prompt", prompt]);
    }
    let latest = known.conversations.len().min(3);
    if latest > 0 && dice.place(5) < 3 {
        let chosen = known.conversations.len() - 1 - dice.place(latest);
        command.args(["--conversation", &known.conversations[chosen]]);
    }
    let moment = Moment::throw(dice, asked);
    let mut running = Running::start(&mut command);
    moment.await_in(&mut running);
    let killed = running.kill();
    let said = &killed.said;
    for line in said {
        assert!(!line.contains("rror") && !line.contains("panicked"), "round {round}: {said:?}");
    }
    let turns = acknowledge(known, said, &prompts);

    assert_gone(place);
    let reader = History::open_reader(&place.data_dir()).unwrap();
    check_shown(&check_all(&reader, known), &turns, &killed.shown);
    drop(reader);
    // Every other time the next `reprise-cli` is the first to open it again.
    if round.is_multiple_of(2) {
        check_as_writer(place, known);
    }
    killed.in_time.then(|| phase(said, asked))
}

#[test]
fn killed_a_hundred_times() {
    let Some(place) = Place::with_model() else { return };
    let mut dice = Dice(SEED);
    let mut known = Acknowledged::default();
    let mut phases = BTreeMap::new();
    let mut kills = 0;
    for round in 0..ROUNDS {
        if let Some(phase) = one_round(&place, round, &mut dice, &mut known) {
            *phases.entry(phase).or_insert(0) += 1;
            kills += 1;
        }
        if kills == KILLS {
            break;
        }
    }
    let told: Vec<String> = phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
    // Straight to where it is seen: the spread is what makes the test worth something.
    let _ = writeln!(io::stderr(), "killed {kills} times: {}", told.join(", "));
    assert_eq!(kills, KILLS, "too many ended before their moment");
    assert!(phases.len() >= 5, "the moments are spread: {phases:?}");
    assert!(known.messages.len() > KILLS / 2, "most runs came as far as keeping a message");

    // And everything goes on.
    let id = known.conversations.last().unwrap().clone();
    let next = place.chat("And now?", 4, &["--conversation", &id]);
    assert_eq!(text(&next["conversation"]), id);
    check_as_writer(&place, &known);
}
