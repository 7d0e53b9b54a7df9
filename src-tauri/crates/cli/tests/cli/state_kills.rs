//! `kill -9` at random moments of turns that restore and keep a state, to the program or to its engine: the
//! next time the conversation is restored and proved, or replayed with a reason, and all the text is there.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use reprise_chat::verify_snapshots;
use serde_json::Value;

use crate::dice::Dice;
use crate::place::{Place, column, run, text};
use crate::processes::{Running, assert_gone, signal_if_there};
use crate::states::opening;

/// Kills with every test run, if the machine is quick enough; `make soak` does more.
const KILLS: u32 = 200;
const SOAK: u32 = 2_000;
/// So long at most, unless it is a soak.
const PATIENCE: Duration = Duration::from_secs(100);

/// The conversation, and what it says next when it is restored and when it is replayed.
struct Subject<'a> {
    place: &'a Place,
    conversation: String,
    node: String,
    restored: Option<Value>,
    replayed: Option<Value>,
    messages: usize,
}

impl Subject<'_> {
    fn extra(&self) -> [&str; 4] {
        ["--conversation", &self.conversation, "--parent", &self.node]
    }

    /// Goes on behind the same answer as ever, and looks at everything.
    fn look(&mut self) -> &'static str {
        let report = verify_snapshots(&self.place.data_dir()).unwrap();
        assert!(report.is_ok(), "what a kill leaves is whole or not there: {report:?}");
        let turn = self.place.chat("What comes first?", 4, &self.extra());
        let receipt = &turn["receipt"];
        let (known, path) = match text(&receipt["path"]) {
            "restored" => {
                let checks = receipt["checks"].as_array().unwrap();
                assert!(checks.len() == 5 && checks.iter().all(|check| check["ok"] == true), "{receipt}");
                (&mut self.restored, "restored")
            }
            "replayed" => {
                assert!(receipt["reason"]["code"].is_string(), "{receipt}");
                (&mut self.replayed, "replayed")
            }
            other => panic!("{other}: {receipt}"),
        };
        // Greedy, on the same way the same tokens.
        assert_eq!(*known.get_or_insert(turn["token_ids"].clone()), turn["token_ids"], "{receipt}");
        let messages = self.place.messages(&self.conversation);
        assert!(messages.iter().all(|message| message["damaged"] == false));
        path
    }
}

/// Starts a turn, kills the program or its engine some time after a line, and tells what came of it.
fn kill(subject: &mut Subject<'_>, dice: &mut Dice, round: u32) -> Option<&'static str> {
    // How a line begins, and milliseconds from there on.
    let (line, ms) = [
        ("kept ", 60),
        ("loading ", 300),
        ("ready", 30),
        ("prompt of ", 60),
        ("answering ", 60),
        ("finished ", 60),
        ("saving ", 150),
    ][usize::try_from(dice.below(7)).unwrap()];
    let (line, is_save) = if line == "saving " { ("answering ", true) } else { (line, false) };
    let of_engine = dice.below(2) == 0;
    let mut command = subject.place.command();
    command.args(["-v", "chat", "--temperature", "0", "--max-tokens", "3", "--model"]);
    command.arg(crate::place::model().unwrap()).args(["--prompt", &format!("{round}: and then?")]);
    command.args(subject.extra());
    let mut running = Running::start(&mut command);
    let mut found = false;
    while let Some(said) = running.line() {
        if said.starts_with(line) {
            found = true;
            break;
        }
    }
    let wait =
        Duration::from_micros(dice.below(ms * 1000)) + Duration::from_millis(if is_save { 60 } else { 0 });
    // The moment itself, which is what this test throws dice for.
    thread::sleep(wait);
    if of_engine && found {
        // It may end by itself between being found and being killed.
        let killed = running.find_worker().is_some_and(|engine| signal_if_there("KILL", &engine.to_string()));
        let ended = running.end();
        assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
        assert_gone(subject.place);
        return killed.then_some("engine");
    }
    let killed = running.kill();
    assert_gone(subject.place);
    killed.in_time.then_some("program")
}

#[test]
fn killed_while_states_are_restored_and_kept() {
    let Some(place) = Place::with_model() else { return };
    let soak = std::env::var_os("REPRISE_SOAK").is_some();
    let (wanted, patience) = if soak { (SOAK, Duration::MAX) } else { (KILLS, PATIENCE) };
    let first = place.chat(&opening(), 4, &[]);
    let mut subject = Subject {
        place: &place,
        conversation: text(&first["conversation"]).to_owned(),
        node: text(&first["node"]).to_owned(),
        restored: None,
        replayed: None,
        messages: 2,
    };
    assert_eq!(subject.look(), "restored", "the control");
    let mut dice = Dice(20_261_123);
    let began = Instant::now();
    let mut seen: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut kills = 0;
    let mut round = 0;
    while kills < wanted && began.elapsed() < patience {
        round += 1;
        if let Some(victim) = kill(&mut subject, &mut dice, round) {
            kills += 1;
            *seen.entry((victim, subject.look())).or_default() += 1;
        }
        let messages = place.messages(&subject.conversation).len();
        assert!(messages > subject.messages, "every message that was kept is there");
        subject.messages = messages;
        if round % 50 == 0 {
            // Each branch keeps a state of its own; this is about kills, not about the disk.
            run(place.command().args(["--json", "snapshots", "prune", "--budget", "50000000"])).success();
        }
    }
    let told: Vec<String> =
        seen.iter().map(|((victim, then), count)| format!("{count} {victim}, then {then}")).collect();
    let _ = writeln!(io::stderr(), "killed {kills} of {wanted} times: {}", told.join("; "));
    assert!(kills >= 20, "{kills} kills in {:?} tell little", began.elapsed());
    // Whatever was killed, the snapshots that are listed are whole, and text is read only where none is.
    let listed = place.json(["snapshots", "list"]);
    assert!(!column(listed["snapshots"].as_array().unwrap(), "id").is_empty());
}
