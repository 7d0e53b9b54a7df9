//! Conversations: one turn after the other, in one process and in several.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::place::{Place, column, keys, run, text};

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

#[test]
fn a_second_process_goes_on_where_the_first_ended() {
    let Some(place) = Place::with_model() else { return };
    let first = place.chat("My name is Ada. Greet me.", 12, &[]);
    assert_eq!(keys(&first), "conversation message node receipt saved stop text timing token_ids");
    assert_eq!(
        keys(&first["receipt"]),
        "bytes_read checks estimated_replay_ms ms ms_bytes ms_challenge path reason tokens_decoded \
         tokens_reused tokens_total"
    );
    assert_eq!(
        keys(&first["timing"]),
        "checkpoint_ms decode_tok_s decode_tokens load_ms prefill_tok_s prefill_tokens resume_ms ttft_ms"
    );
    assert_eq!(keys(&first["saved"]), "bytes_written engine_ms ms new_kv_bytes snapshot state_bytes");
    let id = text(&first["conversation"]);
    let second = place.chat("What is my name?", 12, &["--conversation", id]);
    assert_eq!(second["conversation"], first["conversation"]);

    // The history was carried over: the prompt is the first one, its answer, and the new message.
    let (before, after) = (&first["receipt"], &second["receipt"]);
    assert_eq!(after["path"], "replayed", "another process has nothing live");
    assert_eq!(after["reason"]["code"], "too_short");
    let answered = first["token_ids"].as_array().unwrap().len() as u64;
    assert!(number(&after["tokens_total"]) > number(&before["tokens_total"]) + answered);
    assert_eq!(after["tokens_decoded"], after["tokens_total"]);

    let shown = place.json(["history", "show", id]);
    assert_eq!(keys(&shown), "active_leaf conversation created messages model seed title trashed updated");
    let messages = shown["messages"].as_array().unwrap();
    assert_eq!(
        keys(&messages[0]),
        "active created damaged finished id model notice parent receipt role state stats stop text token_ids"
    );
    assert_eq!(column(messages, "role"), ["user", "assistant", "user", "assistant"]);
    let expected =
        ["My name is Ada. Greet me.", text(&first["text"]), "What is my name?", text(&second["text"])];
    assert_eq!(column(messages, "text"), expected);
    assert!(messages[0]["parent"].is_null());
    for pair in messages.windows(2) {
        assert_eq!(pair[1]["parent"], pair[0]["id"]);
    }
    assert_eq!(shown["active_leaf"], second["node"]);
    assert_eq!(messages[3]["receipt"], second["receipt"]);
    assert_eq!(messages[1]["token_ids"], first["token_ids"]);
}

#[test]
fn several_prompts_in_one_process_decode_only_what_is_new() {
    let Some(place) = Place::with_model() else { return };
    let prompts = ["Name a colour.", "Another one.", "And one more."];
    let said = run(&mut place.chat_command(&prompts, 10, &[])).success();
    assert_eq!(keys(&said), "turns");
    let turns = said["turns"].as_array().unwrap();
    assert_eq!(turns.len(), 3);
    assert_eq!(turns[0]["receipt"]["path"], "fresh");
    assert_eq!(turns[0]["receipt"]["tokens_reused"], 0);
    assert!(turns[0]["timing"]["load_ms"].is_number());
    for pair in turns.windows(2) {
        let (before, after) = (&pair[0]["receipt"], &pair[1]["receipt"]);
        assert_eq!(after["path"], "live");
        assert!(pair[1]["timing"]["load_ms"].is_null(), "loaded once");
        // All of the prompt before and of its answer, but for the last token, which was sampled and
        // not decoded.
        let answered = pair[0]["token_ids"].as_array().unwrap().len() as u64;
        let live = number(&before["tokens_total"]) + answered;
        let reused = number(&after["tokens_reused"]);
        assert!(reused == live || reused == live - 1, "{reused} of {live}");
        assert_eq!(number(&after["tokens_decoded"]), number(&after["tokens_total"]) - reused);
        assert_eq!(pair[1]["conversation"], pair[0]["conversation"]);
    }
    // In the store they form one line.
    let messages = place.messages(text(&turns[0]["conversation"]));
    assert_eq!(messages.len(), 6);
    assert_eq!(messages[4]["parent"], turns[1]["node"]);
}

#[test]
fn the_likeliest_answer_is_the_same_each_time() {
    let Some(place) = Place::with_model() else { return };
    let ask = || place.chat("What is the capital of France?", 24, &[]);
    let (first, second) = (ask(), ask());
    assert_eq!(first["token_ids"], second["token_ids"]);
    assert_eq!(first["text"], second["text"]);
    assert_ne!(first["conversation"], second["conversation"]);
}

#[test]
fn a_seed_gives_the_same_answers_anywhere_and_another_seed_others() {
    let Some(place) = Place::with_model() else { return };
    let prompts = ["Invent a name for a boat.", "Another one."];
    let with_seed = |data: &str, seed: &str| {
        let sampling = ["--temperature", "1", "--seed", seed];
        let mut command = place.chat_command(&prompts, 24, &sampling);
        run(command.env("REPRISE_DATA_DIR", place.path(data))).success()
    };
    let tokens = |said: &Value| {
        said["turns"].as_array().unwrap().iter().map(|turn| turn["token_ids"].clone()).collect::<Vec<_>>()
    };
    let here = tokens(&with_seed("data", "7"));
    assert_eq!(here, tokens(&with_seed("elsewhere", "7")));
    assert_ne!(here, tokens(&with_seed("elsewhere", "8")));
}

#[test]
fn instructions_are_the_root_and_change_the_answer() {
    let Some(place) = Place::with_model() else { return };
    let plain = place.chat("Hello!", 16, &[]);
    let told = place.chat("Hello!", 16, &["--system", "You are a pirate. Talk like one."]);
    assert_ne!(plain["text"], told["text"]);
    let messages = place.messages(text(&told["conversation"]));
    assert_eq!(column(&messages, "role"), ["system", "user", "assistant"]);
    assert_eq!(messages[0]["text"], "You are a pirate. Talk like one.");
    assert_eq!(messages[1]["parent"], messages[0]["id"]);
}

#[test]
fn a_message_behind_an_earlier_one_begins_a_branch() {
    let Some(place) = Place::with_model() else { return };
    let said = run(&mut place.chat_command(&["Name a fruit.", "Is it sweet?"], 8, &[])).success();
    let (id, fork) = (text(&said["turns"][0]["conversation"]), text(&said["turns"][0]["node"]));
    let branch = place.chat("Is it sour?", 8, &["--conversation", id, "--parent", fork]);

    let messages = place.messages(id);
    assert_eq!(messages.len(), 6, "nothing was overwritten");
    let behind: Vec<&Value> = messages.iter().filter(|message| message["parent"] == fork).collect();
    assert_eq!(behind.len(), 2);
    let active: Vec<bool> = messages.iter().map(|message| message["active"].as_bool().unwrap()).collect();
    assert_eq!(active, [true, true, false, false, true, true]);
    // The text shows the branch alone, --all everything.
    let shown = |args: &[&str]| place.run([&["history", "show", id], args].concat()).stdout;
    assert!(!shown(&[]).contains("Is it sweet?") && shown(&[]).contains("Is it sour?"));
    assert!(shown(&["--all"]).contains("Is it sweet?"));
    // The next one follows the branch.
    let next = place.chat("Thanks.", 4, &["--conversation", id]);
    let messages = place.messages(id);
    let asked = messages.iter().find(|message| message["id"] == next["message"]).unwrap();
    assert_eq!(asked["parent"], branch["node"]);
}

#[test]
fn limits_and_stop_texts_end_an_answer() {
    let Some(place) = Place::with_model() else { return };
    let one = place.chat("Tell me about the sea.", 1, &[]);
    assert_eq!(one["stop"], "length");
    assert_eq!(one["token_ids"].as_array().unwrap().len(), 1);

    let whole = place.chat("Count from one to five.", 40, &[]);
    let words: Vec<&str> = text(&whole["text"]).split_whitespace().collect();
    let word = words[words.len() / 2];
    let stopped = place.chat("Count from one to five.", 40, &["--stop", word]);
    assert_eq!(stopped["stop"], "end");
    let expected = text(&whole["text"]).split(word).next().unwrap();
    assert_eq!(text(&stopped["text"]), expected);
}

#[test]
fn a_message_comes_from_a_file_or_standard_input_alike() {
    let Some(place) = Place::with_model() else { return };
    let message = "第一行\nSecond line 🦀, \"quoted\".\n";
    std::fs::write(place.path("message.txt"), message).unwrap();
    let from_file = run(&mut place.chat_command(&[], 4, &["--prompt-file", "message.txt"])).success();
    let mut command = place.chat_command(&[], 4, &["--prompt-file", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let from_input = crate::place::Ended::from(child.wait_with_output().unwrap()).success();
    assert_eq!(from_file["token_ids"], from_input["token_ids"]);
    for said in [from_file, from_input] {
        assert_eq!(place.messages(text(&said["conversation"]))[0]["text"], message);
    }
}

#[test]
fn people_read_the_answer_and_what_it_took() {
    let Some(place) = Place::with_model() else { return };
    let model = crate::place::model().unwrap();
    let model = model.to_str().unwrap();
    let ended =
        place.run(["chat", "--model", model, "--temperature", "0", "--max-tokens", "4", "--prompt", "Hi"]);
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stdout.trim().is_empty() && ended.stdout.ends_with('\n'));
    assert!(ended.stderr.starts_with("[Started from the text, "), "{}", ended.stderr);
    assert!(ended.stderr.contains("ended at the limit · saved in "), "{}", ended.stderr);
    assert!(ended.stderr.contains(" · conversation 0"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("rror"), "{}", ended.stderr);
}
