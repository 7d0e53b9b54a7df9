//! Conversations that resume from their state: with everything killed and restarted before each turn they
//! go on as if nothing had happened, and a state that is not what it was is never used.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;

use crate::gguf::Gguf;
use crate::place::{Place, column, keys, run, text};

const TURNS: [&str; 5] = [
    "Name one thing a keeper does every day.",
    "And what for?",
    "Tell me one more.",
    "Which of the two takes longer?",
    "Say goodbye.",
];

/// Long enough that its state is worth keeping.
pub fn opening() -> String {
    let duties = "The keeper lights the lamp, trims the wick, notes the weather and counts the ships. ";
    format!("{}What is this text about?", duties.repeat(16))
}

const CHECKS: [&str; 5] = ["integrity", "identity", "tokens", "restore", "challenge"];

#[track_caller]
pub fn is_restored(turn: &Value) {
    let receipt = &turn["receipt"];
    assert_eq!(receipt["path"], "restored", "{receipt}");
    let checks = receipt["checks"].as_array().unwrap();
    assert_eq!(column(checks, "name"), CHECKS);
    assert!(checks.iter().all(|check| check["ok"] == true), "{receipt}");
    assert!(receipt["bytes_read"].as_u64() > Some(0) && receipt["ms_challenge"].as_f64() > Some(0.0));
    assert!(receipt["tokens_reused"].as_u64() > Some(256), "{receipt}");
}

#[track_caller]
pub fn is_replayed(turn: &Value, code: &str) {
    let receipt = &turn["receipt"];
    assert_eq!(
        (&receipt["path"], &receipt["reason"]["code"]),
        (&"replayed".into(), &code.into()),
        "{receipt}"
    );
    assert_eq!(receipt["tokens_reused"], 0);
    assert_eq!(receipt["tokens_decoded"], receipt["tokens_total"]);
}

/// Six turns give the same tokens whether they are taken in one process, or in six.
fn six_turns(sampling: &[&str]) {
    let Some(place) = Place::with_model() else { return };
    let first = opening();
    let mut prompts = vec![first.as_str()];
    prompts.extend(TURNS);
    let at_once = run(&mut place.chat_command(&prompts, 24, sampling)).success();
    let at_once = at_once["turns"].as_array().unwrap();
    assert!(at_once[1..].iter().all(|turn| turn["receipt"]["path"] == "live"));

    let mut conversation = String::new();
    for (index, prompt) in prompts.iter().enumerate() {
        let mut extra = sampling.to_vec();
        if index > 0 {
            extra.extend(["--conversation", &conversation]);
        }
        let turn = place.chat(prompt, 24, &extra);
        assert_eq!(turn["token_ids"], at_once[index]["token_ids"], "turn {index}: {}", turn["receipt"]);
        if index > 0 {
            is_restored(&turn);
        }
        text(&turn["conversation"]).clone_into(&mut conversation);
    }
}

#[test]
fn six_greedy_turns_are_the_same_in_one_process_and_in_six() {
    six_turns(&["--temperature", "0"]);
}

#[test]
fn six_seeded_turns_are_the_same_in_one_process_and_in_six() {
    six_turns(&["--temperature", "0.9", "--seed", "7", "--repeat-penalty", "1.1"]);
}

fn database(place: &Place) -> std::path::PathBuf {
    place.data().join("snapshots.db")
}

/// Turns one bit of one byte of the file that fits, counted from the beginning.
fn flip(file: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at).unwrap();
}

#[test]
fn a_changed_byte_of_a_state_is_found_and_the_text_is_read() {
    let Some(place) = Place::with_model() else { return };
    let first = place.chat(&opening(), 8, &[]);
    let id = text(&first["conversation"]).to_owned();
    assert_eq!(place.json(["snapshots", "verify"])["bad"], Value::Array(Vec::new()));
    let whole = fs::read(database(&place)).unwrap();
    let mut second = None;
    // Nearly all of the file is chunks: three places of many.
    for part in [3, 5, 8] {
        fs::write(database(&place), &whole).unwrap();
        let _ = fs::remove_file(place.data().join("snapshots.db-wal"));
        flip(&database(&place), whole.len() as u64 * part / 10);
        let bad = run(place.command().args(["--json", "snapshots", "verify"]));
        assert_eq!((bad.code, bad.object()["bad"].as_array().unwrap().len()), (Some(1), 1), "{bad:?}");
        let node = text(&first["node"]);
        let turn = place.chat(TURNS[0], 8, &["--conversation", &id, "--parent", node]);
        is_replayed(&turn, "integrity");
        // Read from the text each time, it says the same each time.
        let said = turn["text"].clone();
        assert_eq!(*second.get_or_insert(said.clone()), said);
    }
    // Every branch is there.
    assert_eq!(place.messages(&id).len(), 2 + 3 * 2);
}

#[test]
fn a_cache_of_garbage_costs_time_and_no_words() {
    let Some(place) = Place::with_model() else { return };
    let first = place.chat(&opening(), 8, &[]);
    let id = text(&first["conversation"]).to_owned();
    fs::write(database(&place), "not a database at all\n".repeat(5000)).unwrap();
    let second = place.chat(TURNS[0], 8, &["--conversation", &id]);
    is_replayed(&second, "no_snapshot");
    let third = place.chat(TURNS[1], 8, &["--conversation", &id]);
    is_restored(&third);
    assert_eq!(place.messages(&id).len(), 6);
    assert!(
        fs::read_dir(place.data()).unwrap().any(|entry| {
            entry.unwrap().file_name().to_string_lossy().starts_with("snapshots.db.damaged")
        })
    );
}

#[test]
fn other_settings_and_another_model_of_the_same_shape_are_told() {
    let Some(place) = Place::with_model() else { return };
    let copy = place.path("model.gguf");
    fs::copy(crate::place::model().unwrap(), &copy).unwrap();
    let model = copy.to_str().unwrap();
    let first = place.chat(&opening(), 8, &["--model", model]);
    let (id, node) = (text(&first["conversation"]).to_owned(), text(&first["node"]).to_owned());
    let again = |extra: &[&str]| {
        // A folder of its own each time, in which only the first snapshot lies.
        let folder = place.path("again");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        for name in ["history.db", "snapshots.db", "snapshots.key"] {
            fs::copy(place.data().join(name), folder.join(name)).unwrap();
        }
        let mut all = vec!["--model", model, "--conversation", &id, "--parent", &node];
        all.extend(extra);
        run(place.chat_command(&[TURNS[0]], 4, &all).env("REPRISE_DATA_DIR", &folder)).success()
    };
    for (extra, field) in [
        (&["--kv-type", "q8_0"][..], "KV cache"),
        (&["--flash-attn", "off"], "attention"),
        (&["--rope-freq-base", "90000"], "RoPE"),
        (&["--n-ctx", "9000"], "what the model was trained for"),
    ] {
        let turn = again(extra);
        is_replayed(&turn, "identity");
        assert!(text(&turn["receipt"]["reason"]["message"]).contains(field), "{}", turn["receipt"]["reason"]);
    }
    is_replayed(&again(&["--threads", "1"]), "unqualified");
    is_restored(&again(&[]));

    // One bit of one weight, with size and time of change set back.
    let before = fs::metadata(&copy).unwrap();
    flip(&copy, before.len() - 1000);
    let file = fs::File::options().write(true).open(&copy).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    drop(file);
    let turn = again(&[]);
    is_replayed(&turn, "identity");
    assert!(text(&turn["receipt"]["reason"]["message"]).contains("model file"));
}

#[test]
fn an_edited_message_is_noticed() {
    let Some(place) = Place::with_model() else { return };
    let first = place.chat(&format!("Zephyr. {}", opening()), 8, &[]);
    let id = text(&first["conversation"]).to_owned();
    // Somebody writes into the file while nobody has it open. The index of words is left as it was.
    let file = place.data().join("history.db");
    let mut bytes = fs::read(&file).unwrap();
    let found: Vec<usize> =
        (0..bytes.len() - 14).filter(|at| &bytes[*at..*at + 14] == b"Zephyr. The ke").collect();
    assert!(!found.is_empty());
    for at in found {
        bytes[at..at + 6].copy_from_slice(b"Zodiac");
    }
    fs::write(&file, bytes).unwrap();
    let second = place.chat(TURNS[0], 8, &["--conversation", &id]);
    is_replayed(&second, "tokens");
    assert_eq!(place.messages(&id)[0]["damaged"], true);
    // The state that came of it is that of the new text.
    is_restored(&place.chat(TURNS[1], 8, &["--conversation", &id]));
}

#[test]
fn another_template_is_noticed() {
    let Some(place) = Place::with_model() else { return };
    let model = place.path("model.gguf");
    fs::copy(crate::place::model().unwrap(), &model).unwrap();
    let with_model = |extra: &[&str]| {
        let mut all = vec!["--model", model.to_str().unwrap()];
        all.extend(extra);
        place.chat(&opening(), 8, &all)
    };
    let first = with_model(&[]);
    let id = text(&first["conversation"]);
    let mut gguf = Gguf::read(&crate::place::model().unwrap());
    gguf.set_string("tokenizer.chat_template", REASONING);
    gguf.write(&crate::place::model().unwrap(), &model);
    // The file's hash differs, and with it the first field that is compared.
    is_replayed(&with_model(&["--conversation", id]), "identity");
}

/// As reasoning models have it: what was thought before an answer is there while the answer is written, and
/// gone from every later prompt.
const REASONING: &str = "{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
<think>
The keeper comes to mind.
</think>
{% endif -%}";

#[test]
fn a_template_that_drops_thinking_keeps_all_but_the_last_turn() {
    let Some(place) = Place::with_model() else { return };
    let model = place.path("model.gguf");
    let mut gguf = Gguf::read(&crate::place::model().unwrap());
    gguf.set_string("tokenizer.chat_template", REASONING);
    gguf.write(&crate::place::model().unwrap(), &model);
    let model = model.to_str().unwrap();
    let first = place.chat(&opening(), 16, &["--model", model]);
    let id = text(&first["conversation"]).to_owned();
    let mut before = first["receipt"]["tokens_total"].as_u64().unwrap();
    for prompt in TURNS {
        let turn = place.chat(prompt, 16, &["--model", model, "--conversation", &id]);
        is_restored(&turn);
        let reused = turn["receipt"]["tokens_reused"].as_u64().unwrap();
        // The prompt of before up to its thinking, which is some twenty tokens at its end; not the answer.
        assert!((before - 30..before).contains(&reused), "{reused} of {before}: {}", turn["receipt"]);
        before = turn["receipt"]["tokens_total"].as_u64().unwrap();
    }
}

#[test]
fn the_cache_is_listed_checked_and_emptied() {
    let Some(place) = Place::with_model() else { return };
    let first = place.chat(&opening(), 8, &[]);
    let id = text(&first["conversation"]).to_owned();
    let listed = place.json(["snapshots", "list"]);
    let row = &listed["snapshots"][0];
    assert_eq!(
        keys(row),
        "conversation created id identity last_used node pinned state state_bytes stored_bytes tokens why"
    );
    assert_eq!((row["conversation"].as_str(), &row["node"]), (Some(id.as_str()), &first["node"]));
    assert_eq!(row["id"], first["saved"]["snapshot"]);
    assert_eq!(place.json(["history", "list"])["conversations"][0]["snapshot"], true);
    let checked = place.json(["snapshots", "verify"]);
    assert_eq!(keys(&checked), "bad bytes checked ms ok");
    assert_eq!((&checked["checked"], &checked["ok"]), (&1.into(), &1.into()));
    assert_eq!(place.json(["snapshots", "prune", "--budget", "0"])["evicted"].as_array().unwrap().len(), 1);
    assert_eq!(place.json(["history", "list"])["conversations"][0]["snapshot"], false);

    let off = place.chat(TURNS[0], 8, &["--conversation", &id, "--no-snapshots"]);
    is_replayed(&off, "disabled");
    assert!(off["saved"].is_null());
    place.chat(TURNS[1], 8, &["--conversation", &id]);
    assert_eq!(place.json(["snapshots", "clear"])["dropped"], 1);
    place.chat(TURNS[2], 8, &["--conversation", &id]);
    assert_eq!(place.json(["history", "purge", &id])["snapshots"], 1);
    assert!(place.json(["snapshots", "list"])["snapshots"].as_array().unwrap().is_empty());
}
