//! Messages that cannot be answered.

use std::fs;

use crate::place::{Place, column, run, text};

#[test]
fn a_message_that_says_nothing() {
    let Some(place) = Place::with_model() else { return };
    for prompt in ["", "  \n\t "] {
        place.chat_fails("prompt_empty", prompt, &[]);
    }
    fs::write(place.path("empty.txt"), "").unwrap();
    run(&mut place.chat_command(&[], 1, &["--prompt-file", "empty.txt"])).failure("prompt_empty");
    // One of several: none is sent.
    run(&mut place.chat_command(&["Hello.", ""], 1, &[])).failure("prompt_empty");
    assert_eq!(place.count(), 0);
}

#[test]
fn a_message_longer_than_the_context_is_kept_as_a_branch_and_the_conversation_goes_on() {
    let Some(place) = Place::with_model() else { return };
    let small = ["--n-ctx", "256"];
    let first = place.chat("Name a bird.", 8, &small);
    let id = text(&first["conversation"]);
    let long = "word ".repeat(400);
    let on = [&small[..], &["--conversation", id]].concat();
    let said = place.chat_fails("prompt_too_long", &long, &on);
    let message = text(&said["error"]["message"]);
    let numbers: Vec<u64> =
        message.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
    assert_eq!((numbers.len(), numbers[1]), (3, 256), "{message}");
    assert!(numbers[0] > 400 && numbers[2] == numbers[0] - 256 + 1, "by how much: {message}");
    assert_eq!(said["conversation"], id);

    let shown = place.json(["history", "show", id]);
    assert_eq!(shown["active_leaf"], first["node"], "the conversation is where it was");
    let messages = shown["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3);
    assert_eq!((&messages[2]["id"], text(&messages[2]["text"])), (&said["message"], long.as_str()));
    assert_eq!(messages[2]["parent"], first["node"]);

    let next = place.chat("Another one.", 4, &on);
    let messages = place.messages(id);
    let asked = messages.iter().find(|message| message["id"] == next["message"]).unwrap();
    assert_eq!(asked["parent"], first["node"]);
}

#[test]
fn five_megabytes_are_refused_and_kept() {
    let Some(place) = Place::with_model() else { return };
    let first = place.chat("Keep this.", 1, &[]);
    let long = "恢复 the conversation. ".repeat(5_000_000 / 24 + 1);
    assert!(long.len() > 5_000_000);
    fs::write(place.path("long.txt"), &long).unwrap();
    let said =
        run(&mut place.chat_command(&[], 1, &["--prompt-file", "long.txt"])).failure("prompt_too_long");
    let messages = place.messages(text(&said["conversation"]));
    assert_eq!(column(&messages, "role"), ["user"]);
    assert!(text(&messages[0]["text"]) == long, "kept whole");
    assert_eq!(place.messages(text(&first["conversation"])).len(), 2);
}

#[test]
fn a_file_that_is_no_text() {
    let place = Place::new();
    fs::write(place.path("latin1.txt"), b"caf\xe9").unwrap();
    let chat = |file: &'static str| ["chat", "--model", "m.gguf", "--prompt-file", file];
    let said = place.fails("prompt_unreadable", chat("latin1.txt"));
    assert!(text(&said["error"]["message"]).contains("UTF-8"), "{said}");
    place.fails("prompt_unreadable", chat("missing.txt"));
    place.fails("prompt_unreadable", chat("."));
    assert!(!place.data().exists());
}
