//! The library of conversations through the command line.

use serde_json::Value;

use crate::place::{Place, column, keys, text};

const QUESTION: &str = "请用一句话介绍恢复对话的意义。🦀👩‍💻 café";

#[test]
fn chinese_and_emoji_go_round() {
    let Some(place) = Place::with_model() else { return };
    let said = place.chat(QUESTION, 12, &[]);
    let id = text(&said["conversation"]);
    let other = place.chat("Nothing of the kind.", 4, &[]);
    let answer = text(&said["text"]);

    assert_eq!(column(&place.messages(id), "text"), [QUESTION, answer]);
    let shown = place.run(["history", "show", id]).stdout;
    assert!(shown.contains(QUESTION), "{shown}");

    let list = place.json(["history", "list"]);
    assert_eq!(keys(&list), "conversations");
    let rows = list["conversations"].as_array().unwrap();
    assert_eq!(keys(&rows[0]), "bytes created id messages model snapshot title updated");
    assert_eq!(column(rows, "id"), [text(&other["conversation"]), id], "the latest first");
    assert_eq!(rows[1]["title"], QUESTION);
    assert_eq!(rows[1]["messages"], 2);
    assert_eq!(rows[1]["snapshot"], true);
    assert_eq!(rows[1]["bytes"], (QUESTION.len() + answer.len()) as u64);

    let exported = place.json(["history", "export", id]);
    assert_eq!(keys(&exported), "active_leaf conversation created format messages model seed title updated");
    assert_eq!(column(exported["messages"].as_array().unwrap(), "text"), [QUESTION, answer]);
    let markdown = place.run(["history", "export", id, "--format", "markdown"]).stdout;
    assert!(markdown.contains(QUESTION) && markdown.contains(answer), "{markdown}");
    let wrapped = place.json(["history", "export", id, "--format", "markdown"]);
    assert_eq!(keys(&wrapped), "content conversation format");
    assert_eq!(wrapped["content"], markdown.as_str());
    let done = place.json(["history", "export", id, "--output", "out.json"]);
    assert_eq!(keys(&done), "conversation file format");
    let file: Value = serde_json::from_slice(&std::fs::read(place.path("out.json")).unwrap()).unwrap();
    assert_eq!(file, exported);
    place.fails("export_failed", ["history", "export", id, "--output", "missing/out.json"]);
}

#[test]
fn search_finds_one_two_and_four_chinese_characters() {
    let Some(place) = Place::with_model() else { return };
    let said = place.chat(QUESTION, 1, &[]);
    place.chat("今天天气很好。", 1, &[]);
    let found = |query: &str| {
        let said = place.json(["history", "search", query]);
        assert_eq!(keys(&said), "hits ms");
        said["hits"].as_array().unwrap().clone()
    };
    let only = |query: &str, part: &str| {
        let hits = found(query);
        assert!(!hits.is_empty(), "{query}");
        for hit in &hits {
            assert_eq!(keys(hit), "conversation matches message rank snippet title");
            assert_eq!(hit["conversation"], said["conversation"], "{query}");
            let range = &hit["matches"][0];
            let at = |end: usize| usize::try_from(range[end].as_u64().unwrap()).unwrap();
            assert_eq!(&text(&hit["snippet"])[at(0)..at(1)], part, "{query}");
        }
    };
    only("意", "意");
    only("恢复", "恢复");
    only("恢复对话", "恢复对话");
    only("cafe", "café");
    // Characters that stand there, but not side by side.
    assert!(found("恢话").is_empty());
    assert_eq!(found("天").iter().filter(|hit| hit["conversation"] == said["conversation"]).count(), 0);
    assert_eq!(place.run(["history", "search", "nothing like it"]).stdout, "Nothing was found.\n");
}

#[test]
fn trash_restore_and_purge() {
    let Some(place) = Place::with_model() else { return };
    let said = place.chat("A secret word: quokka.", 4, &[]);
    let id = text(&said["conversation"]);
    let ids = |args: &[&str]| {
        let list = place.json(args);
        column(list["conversations"].as_array().unwrap(), "id").join(" ")
    };
    let listed = || (ids(&["history", "list"]), ids(&["history", "list", "--trashed"]));
    let nothing = String::new;

    assert_eq!(keys(&place.json(["history", "trash", id])), "conversation trashed");
    assert_eq!(listed(), (nothing(), id.to_owned()));
    // Its messages are there, but it does not go on.
    assert_eq!(place.messages(id).len(), 2);
    place.chat_fails("bad_request", "Go on.", &["--conversation", id]);
    assert_eq!(place.messages(id).len(), 2);

    assert_eq!(place.json(["history", "restore", id])["trashed"], false);
    assert_eq!(listed(), (id.to_owned(), nothing()));
    place.chat("Go on.", 4, &["--conversation", id]);

    let purged = place.json(["history", "purge", id]);
    assert_eq!(keys(&purged), "backups conversation journal_erased messages purged snapshots");
    assert_eq!(purged["messages"], 4);
    assert_eq!(listed(), (nothing(), nothing()));
    place.fails("not_found", ["history", "show", id]);
    for entry in std::fs::read_dir(place.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"quokka"), "{}", path.display());
        }
    }
    for entry in std::fs::read_dir(place.data().join("logs")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"quokka"), "prompts are never logged");
    }
}

#[test]
fn ids_that_are_none_and_ids_of_nothing() {
    let Some(place) = Place::with_model() else { return };
    let nothing = "01M7ZZZZZZZZZZZZZZZZZZZZZZ";
    for command in ["show", "export", "trash", "restore", "purge"] {
        place.fails("not_found", ["history", command, nothing]);
        let error = place.fails("invalid_id", ["history", command, "no-id"]);
        assert!(text(&error["error"]["message"]).contains("\"no-id\""), "{error}");
    }
    place.chat_fails("not_found", "Hello.", &["--conversation", nothing]);
    place.chat_fails("invalid_id", "Hello.", &["--conversation", "no-id"]);
    let said = place.chat("Hello.", 1, &[]);
    let id = text(&said["conversation"]);
    place.chat_fails("not_found", "Hello.", &["--conversation", id, "--parent", nothing]);
    place.chat_fails("invalid_id", "Hello.", &["--conversation", id, "--parent", "no-id"]);
    let elsewhere = place.chat("Hello.", 1, &[]);
    let foreign = text(&elsewhere["node"]);
    place.chat_fails("conflict", "Hello.", &["--conversation", id, "--parent", foreign]);
    assert_eq!(place.messages(id).len(), 2);
    assert_eq!(place.count(), 2);
}
