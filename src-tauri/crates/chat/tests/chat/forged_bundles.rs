//! Bundles that were changed on the way come in whole or not at all.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use reprise_chat::history::NodeId;
use reprise_chat::{World, list_snapshots, verify_snapshots};
use reprise_store::Timestamp;
use serde_json::Value;

use crate::archive::{Entry, archive, entries, places};
use crate::bundle_rig::{
    Receiver, Tomorrow, edit_conversation, edit_header, edit_messages, edit_state, put, sender, text_of,
};

fn write_at(file: &Path, at: usize, byte: u8) {
    let mut file = fs::File::options().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

/// One bit of every third byte of the text, and of many of the state.
#[tokio::test]
async fn a_changed_byte_costs_the_state_or_the_whole_and_never_a_part() {
    let from = sender().await;
    let (packed, text) = (from.pack(), from.text());
    let to = Receiver::new().await;
    let file = to.file(&packed);
    let all = places(&entries(&packed));
    let state = all[3].start;
    let mut at = 0;
    let (mut refused, mut without_state, mut unchanged) = (0, 0, 0);
    while at < packed.len() {
        write_at(&file, at, packed[at] ^ (1 << (at % 8)));
        let done = to.import_file(file.clone()).await;
        write_at(&file, at, packed[at]);
        match done {
            Err(error) => {
                assert!(
                    ["not_a_bundle", "bundle_damaged", "bundle_newer"].contains(&error.code()),
                    "{at}: {error}"
                );
                assert_eq!(to.conversations(), 0, "{at}");
                assert!(at < state, "{at}: a fault of the state costs no text: {error}");
                refused += 1;
            }
            Ok(done) => {
                assert_eq!(text_of(&to.reader(), done.conversation), text, "{at}");
                let kept = list_snapshots(&to.dir()).unwrap().0.len();
                match (done.state, done.refused) {
                    (Some(_), None) => {
                        // What fills up a block, and what nobody looks at: never a byte that means something.
                        let inside = all.iter().position(|place| place.contains(&at));
                        let of_no_account =
                            |entry: usize| entry == 0 || (148..156).contains(&(at - all[entry].start));
                        assert!(inside.is_none_or(of_no_account), "{at} in entry {inside:?}");
                        assert_eq!(kept, 1);
                        unchanged += 1;
                    }
                    (None, Some(why)) => {
                        assert_eq!((why.code, kept), ("state_damaged", 0), "{at}: {}", why.message);
                        // The head says of the state how long it is.
                        assert!(at >= state || all[0].contains(&at), "{at}");
                        without_state += 1;
                    }
                    other => panic!("{at}: {other:?}"),
                }
                to.snapshots.drop_conversation(done.conversation).await.unwrap();
                to.library.purge(done.conversation).await.unwrap();
            }
        }
        at += if at < state {
            3
        } else if at < all[4].start {
            61
        } else {
            40_009
        };
    }
    assert!(refused > 1000 && without_state > 50 && unchanged > 5, "{refused} {without_state} {unchanged}");
    assert!(to.reader().integrity_check().unwrap().is_ok());
    let report = verify_snapshots(&to.dir()).unwrap();
    assert!(report.is_ok() && report.orphans <= 8, "{report:?}");
}

#[tokio::test]
async fn a_bundle_that_is_cut_short_has_its_text_or_nothing() {
    let from = sender().await;
    let (packed, text) = (from.pack(), from.text());
    let to = Receiver::new().await;
    let parts = entries(&packed);
    let all = places(&parts);
    let mut cuts: Vec<usize> = Vec::new();
    for place in &all {
        cuts.extend([
            place.start,
            place.start + 100,
            place.start + 512,
            place.start.midpoint(place.end),
            place.end - 1,
        ]);
    }
    for cut in cuts {
        let what = format!("cut at {cut}");
        if cut < all[2].end {
            to.refuses(&packed[..cut], &["not_a_bundle", "bundle_damaged"], &what).await;
        } else {
            to.takes_the_text_alone(&packed[..cut], &text, "state_damaged", &what).await;
        }
    }
    // The end of an archive says nothing that is not known: without it all is there.
    let whole = all.last().unwrap().end.next_multiple_of(512);
    let done = to.import(&packed[..whole]).await.unwrap();
    assert!(done.state.is_some());
}

#[tokio::test]
async fn chunks_are_those_that_the_state_names_in_its_order_and_once() {
    let from = sender().await;
    let (packed, text) = (from.pack(), from.text());
    let parts = entries(&packed);
    let to = Receiver::new().await;
    let foreign = {
        let data = vec![7; 5000];
        Entry::new(&format!("chunks/{}", reprise_store::ChunkHash::of(&data)), &data)
    };
    let with = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut parts = parts.clone();
        change(&mut parts);
        archive(&parts)
    };
    let last = parts.len() - 1;
    let hash = parts[4].name();
    for (what, bytes) in [
        (
            "swapped names",
            with(&|parts| {
                let (a, b) = (parts[4].name(), parts[5].name());
                parts[4] = parts[4].clone().named(&b);
                parts[5] = parts[5].clone().named(&a);
            }),
        ),
        (
            "swapped bytes",
            with(&|parts| {
                let (a, b) = (parts[4].data.clone(), parts[5].data.clone());
                parts[4] = Entry::new(&parts[4].name(), &b);
                parts[5] = Entry::new(&parts[5].name(), &a);
            }),
        ),
        ("other order", with(&|parts| parts.swap(4, 5))),
        ("twice", with(&|parts| parts.insert(5, parts[4].clone()))),
        ("one more", with(&|parts| parts.push(foreign.clone()))),
        ("a foreign one", with(&|parts| parts[last] = foreign.clone())),
        ("one missing", with(&|parts| drop(parts.remove(5)))),
        ("the last missing", with(&|parts| drop(parts.pop()))),
        ("none", with(&|parts| parts.truncate(4))),
        ("no description", with(&|parts| drop(parts.remove(3)))),
        ("described twice", with(&|parts| parts.insert(4, parts[3].clone()))),
        ("the text again", with(&|parts| parts.push(parts[2].clone()))),
        ("upwards", with(&|parts| parts[4] = parts[4].clone().named("chunks/../../../evil"))),
        ("absolute", with(&|parts| parts[4] = parts[4].clone().named("/tmp/evil"))),
        ("upper case", with(&|parts| parts[4] = parts[4].clone().named(&hash.to_uppercase()))),
        ("a link", with(&|parts| parts[4] = parts[4].clone().of_kind(b'2').linked_to("/etc/passwd"))),
        ("a hard link", with(&|parts| parts[5] = parts[5].clone().of_kind(b'1').linked_to(&hash))),
        ("a folder", with(&|parts| parts[4] = parts[4].clone().of_kind(b'5'))),
        ("a device", with(&|parts| parts[4] = parts[4].clone().of_kind(b'3'))),
        ("a pipe", with(&|parts| parts[4] = parts[4].clone().of_kind(b'6'))),
        ("a sparse file", with(&|parts| parts[4] = parts[4].clone().of_kind(b'S'))),
        (
            "a name by extension of GNU tar",
            with(&|parts| {
                let long = Entry::new("././@LongLink", format!("{hash}\0").as_bytes()).of_kind(b'L');
                parts[4] = parts[4].clone().named("evil");
                parts.insert(4, long);
            }),
        ),
        (
            "a name by extension of POSIX tar",
            with(&|parts| {
                let long = format!("{} path={hash}\n", hash.len() + 9);
                parts[4] = parts[4].clone().named("evil");
                parts.insert(4, Entry::new("pax", long.as_bytes()).of_kind(b'x'));
            }),
        ),
        ("an exabyte", with(&|parts| parts[4] = parts[4].clone().sized(1 << 60))),
        ("all that numbers hold", with(&|parts| parts[4] = parts[4].clone().sized(u64::MAX))),
        (
            "a byte less",
            with(&|parts| {
                let len = parts[4].data.len() as u64;
                parts[4] = parts[4].clone().sized(len - 1);
            }),
        ),
    ] {
        to.takes_the_text_alone(&bytes, &text, "state_damaged", what).await;
    }
    assert!(!to.folder.path().join("evil").exists());
    let names: Vec<_> =
        fs::read_dir(to.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

/// Somebody's work on JSON.
type Change<T> = Box<dyn Fn(&mut T)>;

/// Somebody who knows the format, and puts every length and hash right.
#[tokio::test]
async fn a_forger_gets_no_state_in_that_makes_no_sense() {
    let from = sender().await;
    let (packed, text) = (from.pack(), from.text());
    let parts = entries(&packed);
    let to = Receiver::new().await;
    let nowhere = NodeId::new(Timestamp::from_millis(5), 5).to_string();
    let changes: Vec<(&str, Change<Value>)> = vec![
        ("no tokens", Box::new(|state| state["tokens"] = serde_json::json!([]))),
        ("no identity", Box::new(|state| state["identity"] = serde_json::json!({}))),
        ("an identity of numbers", Box::new(|state| state["identity"]["model"] = 7.into())),
        ("a challenge of another kind", Box::new(|state| state["challenge"] = "trust me".into())),
        ("an endless challenge", Box::new(|state| state["challenge"] = "x".repeat(2 << 20).into())),
        ("endless facts", Box::new(|state| state["facts"] = "x".repeat(300 << 10).into())),
        ("another message's", Box::new(move |state| state["node"] = nowhere.clone().into())),
        ("no name", Box::new(|state| state["node"] = "../../etc".into())),
        ("an unknown field", Box::new(|state| state["trusted"] = true.into())),
        ("a longer image", Box::new(|state| state["layout"]["len"] = (1_u64 << 40).into())),
        ("an image without end", Box::new(|state| state["layout"]["len"] = u64::MAX.into())),
        ("a region outside", Box::new(|state| state["layout"]["regions"][1]["offset"] = u64::MAX.into())),
        ("overlapping regions", Box::new(|state| state["layout"]["regions"][1]["offset"] = 17.into())),
        (
            "too many regions",
            Box::new(|state| {
                let region = serde_json::json!({ "offset": 0, "row": 1, "rows": 1 });
                state["layout"]["regions"] = vec![region; 9000].into();
            }),
        ),
        ("no chunks", Box::new(|state| state["chunks"] = serde_json::json!([]))),
        ("a chunk twice", Box::new(|state| state["chunks"][1] = state["chunks"][0].clone())),
        (
            "two of one name",
            Box::new(|state| {
                let last = state["chunks"].as_array().unwrap().len() - 1;
                state["chunks"][last][1] = state["chunks"][0][1].clone();
            }),
        ),
        ("a name that is no hash", Box::new(|state| state["chunks"][0][1] = "../x".into())),
        (
            "depth",
            Box::new(|state| {
                state["facts"] = (0..200).fold(Value::Null, |inner, _| serde_json::json!([inner]));
            }),
        ),
    ];
    for (what, change) in changes {
        let mut parts = parts.clone();
        edit_state(&mut parts, |state| change(state));
        to.takes_the_text_alone(&archive(&parts), &text, "state_damaged", what).await;
    }
    let mut large = parts.clone();
    edit_header(&mut large, |header| header["state"]["bytes"] = (17_u64 << 20).into());
    to.refuses(&archive(&large), &["bundle_damaged"], "a description without end").await;
}

#[tokio::test]
async fn a_forger_gets_no_text_in_that_makes_no_sense() {
    let from = sender().await;
    let parts = entries(&from.pack());
    let to = Receiver::new().await;
    let id = |n: u64| NodeId::new(Timestamp::from_millis(n), 1).to_string();
    let changes: Vec<(&str, Change<Vec<Value>>)> = vec![
        ("another text", Box::new(|lines| lines[1]["text"] = "never said".into())),
        ("its own parent", Box::new(|lines| lines[1]["parent"] = lines[1]["id"].clone())),
        (
            "a circle",
            Box::new(|lines| {
                lines[1]["parent"] = lines[2]["id"].clone();
                lines[2]["parent"] = lines[1]["id"].clone();
            }),
        ),
        ("a child before its parent", Box::new(|lines| lines.swap(1, 2))),
        ("an orphan", Box::new(move |lines| lines[1]["parent"] = id(9).into())),
        ("one twice", Box::new(|lines| lines.push(lines[1].clone()))),
        ("no id", Box::new(|lines| lines[1]["id"] = "'; DROP TABLE messages; --".into())),
        ("another role", Box::new(|lines| lines[1]["role"] = "root".into())),
        ("instructions inside", Box::new(|lines| lines[2]["role"] = "system".into())),
        ("half a question", Box::new(|lines| lines[1]["state"] = "interrupted".into())),
        ("an answer being written", Box::new(|lines| lines[2]["state"] = "streaming".into())),
        ("a state that is none", Box::new(|lines| lines[2]["state"] = "divine".into())),
        ("a question that was generated", Box::new(|lines| lines[1]["model"] = "m".into())),
        ("a moment before time", Box::new(|lines| lines[1]["created"] = (-1).into())),
        ("a moment between moments", Box::new(|lines| lines[1]["created"] = 1.5.into())),
        ("no end", Box::new(|lines| lines[1]["finished"] = Value::Null)),
        ("tokens of nobody", Box::new(|lines| lines[2]["tokens"]["identity"] = "".into())),
        ("tokens that are none", Box::new(|lines| lines[2]["tokens"]["ids"][0] = (-1).into())),
        ("a huge token", Box::new(|lines| lines[2]["tokens"]["ids"][0] = (1_u64 << 40).into())),
        ("an endless receipt", Box::new(|lines| lines[2]["receipt"] = "x".repeat(300 << 10).into())),
        (
            "a deep receipt",
            Box::new(|lines| {
                lines[2]["receipt"] = (0..200).fold(Value::Null, |inner, _| serde_json::json!([inner]));
            }),
        ),
        (
            "a notice of another kind",
            Box::new(|lines| {
                lines[2]["notice"] = serde_json::json!({ "code": "<script>", "text": "x" });
            }),
        ),
        ("an unknown field", Box::new(|lines| lines[1]["admin"] = true.into())),
        ("no messages", Box::new(Vec::clear)),
    ];
    for (what, change) in changes {
        let mut parts = parts.clone();
        edit_messages(&mut parts, |lines| change(lines));
        to.refuses(&archive(&parts), &["bundle_damaged"], what).await;
    }
}

#[tokio::test]
async fn a_forger_gets_no_conversation_in_that_makes_no_sense() {
    let from = sender().await;
    let parts = entries(&from.pack());
    let to = Receiver::new().await;
    let changes: Vec<(&str, Change<Value>)> = vec![
        ("no id", Box::new(|conversation| conversation["id"] = "..".into())),
        ("a seed below nothing", Box::new(|conversation| conversation["seed"] = (-1).into())),
        (
            "a leaf of nothing",
            Box::new(|conversation| {
                let leaf = NodeId::new(Timestamp::from_millis(9), 1);
                conversation["active_leaf"] = leaf.to_string().into();
            }),
        ),
        ("a title without end", Box::new(|conversation| conversation["title"] = "x".repeat(80_000).into())),
        ("a path", Box::new(|conversation| conversation["model"]["path"] = "/etc/passwd".into())),
    ];
    for (what, change) in changes {
        let mut parts = parts.clone();
        edit_conversation(&mut parts, |conversation| change(conversation));
        to.refuses(&archive(&parts), &["bundle_damaged"], what).await;
    }
    let changes: Vec<(&str, &str, Change<Value>)> = vec![
        (
            "tomorrow's",
            "bundle_newer",
            Box::new(|header| {
                header["version"] = 2.into();
                header["more"] = true.into();
            }),
        ),
        ("yesterday's", "bundle_damaged", Box::new(|header| header["version"] = 0.into())),
        ("something else's", "not_a_bundle", Box::new(|header| header["format"] = "zip".into())),
        ("more messages", "bundle_damaged", Box::new(|header| header["message_count"] = 7.into())),
        ("fewer messages", "bundle_damaged", Box::new(|header| header["message_count"] = 5.into())),
        (
            "a million messages",
            "bundle_damaged",
            Box::new(|header| header["message_count"] = 1_000_000.into()),
        ),
        (
            "an exabyte of messages",
            "bundle_damaged",
            Box::new(|header| header["messages"]["bytes"] = (1_u64 << 60).into()),
        ),
        (
            "an exabyte of title",
            "bundle_damaged",
            Box::new(|header| header["conversation"]["bytes"] = (1_u64 << 60).into()),
        ),
        (
            "another hash",
            "bundle_damaged",
            Box::new(|header| header["messages"]["blake3"] = "0".repeat(64).into()),
        ),
        ("no state", "bundle_damaged", Box::new(|header| header["state"] = Value::Null)),
    ];
    for (what, code, change) in changes {
        let mut parts = parts.clone();
        edit_header(&mut parts, |header| change(header));
        to.refuses(&archive(&parts), &[code], what).await;
    }
}

/// Titles and names are shown in lists and on terminals, moments sort them.
#[tokio::test]
async fn names_and_moments_are_held_within_bounds() {
    let from = sender().await;
    let mut parts = entries(&from.pack());
    edit_conversation(&mut parts, |conversation| {
        conversation["title"] = format!("\u{1b}[2J a\nb {}", "很".repeat(500)).into();
        conversation["model"]["name"] = "m\r\u{7}".into();
        conversation["updated"] = u64::MAX.into();
    });
    edit_messages(&mut parts, |lines| {
        lines[2]["created"] = u64::MAX.into();
        lines[2]["model"] = "n\n".into();
    });
    let to = Receiver::new().await;
    let done = to.import(&archive(&parts)).await.unwrap();
    let (conversation, messages) = text_of(&to.reader(), done.conversation);
    assert!(conversation.title.starts_with("[2J a b 很") && conversation.title.ends_with("很…"));
    assert_eq!(conversation.title.chars().count(), 257);
    assert_eq!(conversation.model.unwrap().name, "m");
    assert_eq!((conversation.updated, messages[2].created), (Tomorrow.now(), Tomorrow.now()));
    assert_eq!(messages[2].model_name.as_deref(), Some("n"));
}

#[tokio::test]
async fn a_long_chain_of_messages_is_taken_and_one_without_end_is_not() {
    let from = sender().await;
    let parts = entries(&from.pack());
    let to = Receiver::new().await;
    let mut deep = parts.clone();
    edit_messages(&mut deep, |lines| {
        for n in 0..3000 {
            let mut next = lines[1].clone();
            next["id"] = NodeId::new(Timestamp::from_millis(1_000_000 + n), 1).to_string().into();
            next["parent"] = lines.last().unwrap()["id"].clone();
            lines.push(next);
        }
    });
    let done = to.import(&archive(&deep)).await.unwrap();
    let end = to.reader().messages(done.conversation).unwrap().pop().unwrap().id;
    assert_eq!((done.messages, to.reader().path_to(end).unwrap().len() > 3000), (3006, true));
    to.library.purge(done.conversation).await.unwrap();

    let mut endless = parts.clone();
    let line = vec![b' '; (32 << 20) + 9];
    put(&mut endless, 2, "messages", &line);
    to.refuses(&archive(&endless), &["bundle_damaged"], "a line without end").await;
}

#[tokio::test]
async fn what_is_no_bundle_is_told_so() {
    let from = sender().await;
    let packed = from.pack();
    let parts = entries(&packed);
    let to = Receiver::new().await;
    let other = &["not_a_bundle"][..];
    to.refuses(b"", other, "nothing").await;
    to.refuses(b"Dear diary,\n", other, "text").await;
    to.refuses(&"Dear diary, ".repeat(900).into_bytes(), other, "much text").await;
    to.refuses(&[0; 4096], other, "zeros").await;
    to.refuses(&[b"GGUF\x03\0\0\0".to_vec(), vec![1; 9000]].concat(), other, "a model").await;
    to.refuses(b"{\"a\": 1}", other, "some JSON").await;
    to.refuses(&archive(&parts[1..]), other, "a bundle without its head").await;
    to.refuses(&archive(&[Entry::new("notes.txt", b"x")]), other, "another archive").await;
    let json = {
        let reader = from.desk.reader();
        let conversation = reader.conversation(from.conversation).unwrap();
        reprise_chat::export::json(&reader, &conversation).unwrap()
    };
    let error = to.import(json.as_bytes()).await.unwrap_err();
    assert!(error.code() == "not_a_bundle" && error.to_string().contains("as JSON"), "{error}");

    let folder = to.folder.path().to_owned();
    for path in [folder.join("missing"), folder] {
        assert_eq!(to.import_file(path).await.unwrap_err().code(), "file_unreadable");
    }
    // A million entries end with the first that does not belong there.
    let mut many = parts[..3].to_vec();
    many.extend(std::iter::repeat_n(Entry::new("x", b""), 100_000));
    edit_header(&mut many, |header| header["state"] = Value::Null);
    let began = std::time::Instant::now();
    to.refuses(&archive(&many), &["bundle_damaged"], "many entries").await;
    assert!(began.elapsed().as_secs() < 5);
}
