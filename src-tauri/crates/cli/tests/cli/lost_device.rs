//! A device that is lost, memory and all: between turns, in the middle of an answer, of a save, of a restore. No word
//! is lost with it, and what was not proved is not used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reprise_chat::engine::PROGRAM;
use reprise_chat::verify_snapshots;
use serde_json::Value;

use crate::place::{Ended, Place, column, engine_dir, run, text};
use crate::processes::{Running, assert_gone};
use crate::remote_rig::{DEVICE, Remote};
use crate::states::{TURNS, is_replayed, is_restored, opening};

/// A folder with an engine that has the device.
pub fn with_device(place: &Place, remote: &Remote) -> PathBuf {
    let folder = place.path("engine");
    fs::create_dir_all(&folder).unwrap();
    let mutation = place.path("mutation");
    fs::write(&mutation, "").unwrap();
    remote.write_engine(&folder.join(PROGRAM), &mutation);
    folder
}

/// Whether the device is there again when its server was killed.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Back,
    Gone,
}

/// A conversation on the device with two messages and a state, and what it says next from there.
struct Bench {
    place: Place,
    remote: Remote,
    engine: PathBuf,
    id: String,
    undisturbed: Value,
}

impl Bench {
    fn new() -> Option<Self> {
        let place = Place::with_model()?;
        let remote = Remote::start(engine_dir(), 2)?;
        let engine = with_device(&place, &remote);
        let alone = run(&mut on(&place, &engine, &[&opening(), TURNS[0]], &["--backend", DEVICE])).success();
        let undisturbed = alone["turns"][1]["token_ids"].clone();
        let mut bench = Self { place, remote, engine, id: String::new(), undisturbed };
        text(&bench.turn(&opening(), DEVICE)["conversation"]).clone_into(&mut bench.id);
        Some(bench)
    }

    fn command(&self, prompt: &str, backend: &str) -> Command {
        let mut extra = vec!["--backend", backend];
        if !self.id.is_empty() {
            extra.extend(["--conversation", &self.id]);
        }
        on(&self.place, &self.engine, &[prompt], &extra)
    }

    fn turn(&self, prompt: &str, backend: &str) -> Value {
        run(&mut self.command(prompt, backend)).success()
    }

    /// What it says next when all of the prompt is read again: in other batches, so the last bits differ.
    fn read_anew(&self) -> Value {
        let other = run(&mut on(&self.place, &self.engine, &[&opening()], &["--backend", DEVICE])).success();
        let extra = ["--backend", DEVICE, "--no-snapshots", "--conversation", text(&other["conversation"])];
        run(&mut on(&self.place, &self.engine, &[TURNS[0]], &extra)).success()["token_ids"].clone()
    }

    fn lose(&mut self, then: Then) {
        match then {
            Then::Back => self.remote.restart(),
            Then::Gone => self.remote.kill(),
        }
    }

    /// A turn in which the device is lost while the engine is at `step`.
    fn turn_that_loses_it(&mut self, step: &str, then: Then) -> Ended {
        let (mutation, reached) = (self.place.path("mutation"), self.place.path("mutation.reached"));
        fs::write(&mutation, step).unwrap();
        let mut running = Running::start(&mut self.command(TURNS[0], DEVICE));
        while !reached.exists() {
            assert!(
                running.child.try_wait().unwrap().is_none(),
                "it ended before {step}: {:?}",
                running.end()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        fs::write(&mutation, "").unwrap();
        self.lose(then);
        fs::remove_file(&reached).unwrap();
        running.end()
    }

    /// Everything that was said is there, and every state that is kept is whole.
    fn is_whole(&self, states: &[&str]) {
        let messages = self.place.messages(&self.id);
        assert_eq!(column(&messages, "state"), states);
        assert!(messages.iter().all(|message| message["damaged"] == false), "{messages:?}");
        assert!(verify_snapshots(&self.place.data_dir()).unwrap().is_ok());
        assert_gone(&self.place);
    }
}

fn on(place: &Place, engine: &Path, prompts: &[&str], extra: &[&str]) -> Command {
    let mut command = place.chat_command(prompts, 24, extra);
    command.env("REPRISE_ENGINE_DIR", engine);
    command
}

#[test]
fn a_device_that_is_gone_is_told_and_the_processor_goes_on() {
    let Some(mut bench) = Bench::new() else { return };
    bench.lose(Then::Gone);
    run(&mut bench.command(TURNS[0], DEVICE)).failure("no_such_device");
    let next = bench.turn(TURNS[0], "cpu");
    is_restored(&next);
    bench.is_whole(&["complete"; 4]);
}

#[test]
fn lost_in_mid_answer_what_was_said_stays() {
    for then in [Then::Back, Then::Gone] {
        let Some(mut bench) = Bench::new() else { return };
        let endless = "List one hundred animals, one on each line, with a number before each.";
        let extra =
            ["-v", "--temperature", "1", "--seed", "3", "--backend", DEVICE, "--conversation", &bench.id];
        let mut command = bench.place.chat_command(&[endless], 6000, &extra);
        let mut running = Running::start(command.env("REPRISE_ENGINE_DIR", &bench.engine));
        let node = running.wait_for("answering ");
        while running.line().is_some_and(|line| line.trim().is_empty()) {}
        bench.lose(then);
        let ended = running.end();
        ended.failure("engine_died");
        let messages = bench.place.messages(&bench.id);
        let cut = &messages[3];
        assert_eq!(cut["id"], node.as_str());
        assert!(!text(&cut["text"]).trim().is_empty());
        assert!(ended.stderr.contains(text(&cut["text"]).trim()), "what was seen is what is kept");

        let next = bench.turn("Go on.", if then == Then::Back { DEVICE } else { "cpu" });
        is_restored(&next);
        bench.is_whole(&["complete", "complete", "complete", "interrupted", "complete", "complete"]);
    }
}

#[test]
fn lost_in_mid_save_the_answer_stays_and_the_state_before_it() {
    for then in [Then::Back, Then::Gone] {
        let Some(mut bench) = Bench::new() else { return };
        let turn = bench.turn_that_loses_it("export waits_before", then).success();
        is_restored(&turn);
        assert_eq!(turn["token_ids"], bench.undisturbed);
        assert!(turn["saved"].is_null(), "{turn}");
        let next = bench.turn(TURNS[1], if then == Then::Back { DEVICE } else { "cpu" });
        is_restored(&next);
        bench.is_whole(&["complete"; 6]);
    }
}

#[test]
fn lost_in_mid_restore_the_prompt_is_read_anew() {
    for step in ["import waits_before", "import waits_after"] {
        let Some(mut bench) = Bench::new() else { return };
        let turn = bench.turn_that_loses_it(step, Then::Back).success();
        is_replayed(&turn, "engine_died");
        assert_eq!(turn["token_ids"], bench.read_anew(), "{step}");
        is_restored(&bench.turn(TURNS[1], DEVICE));
        bench.is_whole(&["complete"; 6]);
    }
}

#[test]
fn lost_for_good_in_mid_restore_the_question_stays() {
    for step in ["import waits_before", "import waits_after"] {
        let Some(mut bench) = Bench::new() else { return };
        bench.turn_that_loses_it(step, Then::Gone).failure("no_such_device");
        let next = bench.turn("Go on.", "cpu");
        assert!(next["receipt"]["path"] == "restored" || next["receipt"]["path"] == "replayed", "{next}");
        bench.is_whole(&["complete", "complete", "complete", "complete", "complete"]);
    }
}
