//! Every kind of model, on the processor and on a device whose memory is another process's: with everything killed and
//! restarted before each turn, conversations go on as if nothing had happened.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::gguf::Gguf;
use crate::lost_device::with_device;
use crate::place::{Place, engine_dir, run, skip, text};
use crate::remote_rig::{DEVICE, Remote};
use crate::states::{REASONING, TURNS, is_replayed, is_restored, opening};

/// Tiny models with random weights, written once.
fn tiny(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiny-models");
        let mut program = Command::new(engine_dir().join("reprise-tiny-models"));
        assert!(program.arg(crate::place::model().unwrap()).arg(&folder).status().unwrap().success());
        folder
    });
    folder.join(format!("tiny-{name}.gguf"))
}

fn gemma() -> Option<PathBuf> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models/gemma-3-270m.Q4_K_M.gguf");
    if model.is_file() {
        return Some(model.canonicalize().unwrap());
    }
    assert!(std::env::var_os("CI").is_none(), "the sliding-window model is missing: `make setup`");
    skip("the sliding-window model is not there; run `make setup`");
    None
}

struct Bench<'a> {
    place: &'a Place,
    model: &'a Path,
    engine: Option<&'a Path>,
    extra: &'a [&'a str],
}

impl Bench<'_> {
    fn command(&self, prompts: &[&str], extra: &[&str]) -> Command {
        let mut all = vec!["--model", self.model.to_str().unwrap()];
        all.extend(self.extra);
        all.extend(extra);
        let mut command = self.place.chat_command(prompts, 24, &all);
        if let Some(engine) = self.engine {
            command.env("REPRISE_ENGINE_DIR", engine);
        }
        command
    }

    fn chat(&self, prompt: &str, extra: &[&str]) -> Value {
        run(&mut self.command(&[prompt], extra)).success()
    }

    /// The same turns in one process and in as many as there are turns.
    fn turns_are_the_same(&self, opening: &str, turns: &[&str]) {
        let mut prompts = vec![opening];
        prompts.extend(turns);
        let at_once = run(&mut self.command(&prompts, &[])).success();
        let at_once = at_once["turns"].as_array().unwrap();
        let mut id = String::new();
        for (index, prompt) in prompts.iter().enumerate() {
            let before = ["--conversation", id.as_str()];
            let turn = self.chat(prompt, if index == 0 { &[] } else { &before });
            let told = format!("turn {index} of {}: {}", self.model.display(), turn["receipt"]);
            assert_eq!(turn["token_ids"], at_once[index]["token_ids"], "{told}");
            assert!(turn["saved"].is_object(), "{told}");
            if index > 0 {
                // Random weights write bytes that are no text; where they did, the live state does not begin the
                // next prompt, and the one of the turn before is taken.
                let path = text(&at_once[index]["receipt"]["path"]);
                assert!(path == "live" || path == "restored", "{told}");
                is_restored(&turn);
            }
            text(&turn["conversation"]).clone_into(&mut id);
        }
    }
}

/// More than a window of 512 tokens, and a ring of 768.
fn long_opening() -> String {
    let notes: Vec<String> = (0..70)
        .map(|n| format!("Note {n}: ship number {} came at {} o'clock.", n * 37 % 101, n * 7 % 24))
        .collect();
    format!("{} Which ship came last?", notes.join(" "))
}

#[test]
fn a_window_that_has_gone_round_resumes_token_for_token() {
    let (Some(place), Some(model)) = (Place::with_model(), gemma()) else { return };
    for kv in ["f16", "q8_0"] {
        let bench = Bench { place: &place, model: &model, engine: None, extra: &["--kv-type", kv] };
        bench.turns_are_the_same(&long_opening(), &TURNS[..3]);
    }
}

#[test]
fn every_kind_of_model_resumes_token_for_token() {
    let Some(place) = Place::with_model() else { return };
    for kind in ["window", "recurrent", "hybrid", "moe", "mla"] {
        for kv in ["f16", "q8_0"] {
            let model = tiny(kind);
            let bench = Bench { place: &place, model: &model, engine: None, extra: &["--kv-type", kv] };
            bench.turns_are_the_same(&opening(), &TURNS[..3]);
        }
    }
}

#[test]
fn seeded_answers_of_a_recurrent_model_are_the_same_too() {
    let Some(place) = Place::with_model() else { return };
    let model = tiny("recurrent");
    let extra = ["--temperature", "0.9", "--seed", "7", "--repeat-penalty", "1.1"];
    let bench = Bench { place: &place, model: &model, engine: None, extra: &extra };
    bench.turns_are_the_same(&opening(), &TURNS);
}

/// All layers on the device, chat, snapshot, everything unloaded, a new process, restored, continued.
#[test]
fn on_a_device_with_memory_of_its_own_conversations_resume_token_for_token() {
    let Some(place) = Place::with_model() else { return };
    let Some(remote) = Remote::start(engine_dir(), 2) else { return };
    let engine = with_device(&place, &remote);
    let smollm2 = crate::place::model().unwrap();
    for kv_place in ["device", "host"] {
        let extra = ["--backend", DEVICE, "--kv-place", kv_place];
        let bench = Bench { place: &place, model: &smollm2, engine: Some(&engine), extra: &extra };
        bench.turns_are_the_same(&opening(), &TURNS[..3]);
    }
    for kind in ["window", "recurrent", "hybrid", "moe", "mla"] {
        let model = tiny(kind);
        let bench =
            Bench { place: &place, model: &model, engine: Some(&engine), extra: &["--backend", DEVICE] };
        bench.turns_are_the_same(&opening(), &TURNS[..2]);
    }
}

/// A state goes from the processor to the device and back. Both compute the same bits here, so it proves itself.
#[test]
fn a_state_moves_between_processor_and_device() {
    let Some(place) = Place::with_model() else { return };
    let Some(mut remote) = Remote::start(engine_dir(), 2) else { return };
    let engine = with_device(&place, &remote);
    let model = crate::place::model().unwrap();
    let here = Bench { place: &place, model: &model, engine: Some(&engine), extra: &["--backend", "cpu"] };
    let there = Bench { extra: &["--backend", DEVICE], ..here };
    let alone = run(&mut here.command(&[&opening(), TURNS[0], TURNS[1]], &[])).success();
    let first = here.chat(&opening(), &[]);
    let id = text(&first["conversation"]).to_owned();
    let second = there.chat(TURNS[0], &["--conversation", &id]);
    is_restored(&second);
    let challenge = text(&second["receipt"]["checks"][4]["detail"]);
    assert!(challenge.contains("other device"), "{challenge}");
    assert_eq!(second["token_ids"], alone["turns"][1]["token_ids"]);
    // The device's memory is lost in between.
    remote.restart();
    let third = here.chat(TURNS[1], &["--conversation", &id]);
    is_restored(&third);
    assert_eq!(third["token_ids"], alone["turns"][2]["token_ids"]);
}

/// Every branch has the state that was kept where it begins.
#[test]
fn another_branch_resumes_from_where_it_begins() {
    let Some(place) = Place::with_model() else { return };
    let model = tiny("hybrid");
    let bench = Bench { place: &place, model: &model, engine: None, extra: &[] };
    let first = bench.chat(&opening(), &[]);
    let id = text(&first["conversation"]).to_owned();
    is_restored(&bench.chat(TURNS[0], &["--conversation", &id]));
    is_restored(&bench.chat(TURNS[1], &["--conversation", &id, "--parent", text(&first["node"])]));
    is_replayed(&bench.chat(TURNS[1], &["--conversation", &id, "--no-snapshots"]), "disabled");
}

/// The thinking before an answer is gone from the next prompt, and with it the end of the state behind that answer.
/// What is resumed from is the state within the prompt.
#[test]
fn where_thinking_is_dropped_the_state_within_the_prompt_is_resumed_from() {
    let Some(place) = Place::with_model() else { return };
    for kind in ["window", "recurrent", "hybrid"] {
        let model = place.path("model.gguf");
        let mut gguf = Gguf::read(&tiny(kind));
        gguf.set_string("tokenizer.chat_template", REASONING);
        gguf.write(&tiny(kind), &model);
        let bench = Bench { place: &place, model: &model, engine: None, extra: &[] };
        let first = bench.chat(&opening(), &[]);
        let id = text(&first["conversation"]).to_owned();
        // It was not known yet that states survive, so none was taken within the first prompt.
        let mut before = bench.chat(&opening(), &["--conversation", &id]);
        is_replayed(&before, "tokens");
        for _ in 0..2 {
            let turn = bench.chat(&opening(), &["--conversation", &id]);
            is_restored(&turn);
            let total = before["receipt"]["tokens_total"].as_u64().unwrap();
            let reused = turn["receipt"]["tokens_reused"].as_u64().unwrap();
            // All of the prompt of before up to its thinking.
            assert!(
                (total - 30..total).contains(&reused),
                "{kind}: {reused} of {total}: {}",
                turn["receipt"]
            );
            before = turn;
        }
    }
}
