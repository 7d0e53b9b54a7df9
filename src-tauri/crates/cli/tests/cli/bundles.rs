//! Conversations that move from one data folder to another, with the state that they resume from.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::folders::SmallDisk;
use crate::place::{Place, column, is_clear, keys, run, text};
use crate::states::{is_replayed, is_restored, opening};

const NEXT: &str = "Name one thing a keeper does every day.";

/// A conversation of two turns in the place's own folder, packed; its id, and the file.
fn packed(place: &Place) -> (String, PathBuf) {
    let first = place.chat(&opening(), 16, &[]);
    let id = text(&first["conversation"]).to_owned();
    place.chat("What else is there to do?", 16, &["--conversation", &id]);
    let file = place.path("moved.reprise");
    let name = file.to_str().unwrap();
    let done = place.json(["history", "export", &id, "--format", "bundle", "--output", name]);
    assert_eq!(keys(&done), "bytes conversation file format messages ms snapshot snapshot_left_out");
    assert_eq!(keys(&done["snapshot"]), "node state_bytes tokens");
    assert_eq!((&done["messages"], &done["snapshot_left_out"]), (&4.into(), &Value::Null));
    assert_eq!(done["bytes"], fs::metadata(&file).unwrap().len());
    (id, file)
}

fn import(place: &Place, data: &Path, file: &Path) -> Value {
    let done = run(place.command_on(data).args(["--json", "history", "import"]).arg(file)).success();
    assert_eq!(keys(&done), "conversation copied messages model ms original snapshot snapshot_refused");
    done
}

fn go_on(place: &Place, data: &Path, id: &str, extra: &[&str]) -> Value {
    let extra = [&["--conversation", id], extra].concat();
    run(place.chat_command(&[NEXT], 24, &extra).env("REPRISE_DATA_DIR", data)).success()
}

fn messages(place: &Place, data: &Path, id: &str) -> Value {
    run(place.command_on(data).args(["--json", "history", "show", id])).success()
}

#[test]
fn a_moved_conversation_resumes_from_its_state_and_says_what_it_would_have_said() {
    let Some(place) = Place::with_model() else { return };
    let (id, file) = packed(&place);
    let before = messages(&place, &place.data(), &id);
    let there = place.path("there");
    let done = import(&place, &there, &file);
    assert_eq!((&done["conversation"], &done["copied"]), (&id.as_str().into(), &false.into()));
    assert_eq!(keys(&done["snapshot"]), "bytes_written id node state_bytes tokens");
    assert_eq!(keys(&done["model"]), "blake3 name");
    assert_eq!(done["model"]["blake3"].as_str().map(str::len), Some(64));
    assert!(done["snapshot_refused"].is_null(), "{done}");
    assert_eq!(messages(&place, &there, &id), before);

    let here = go_on(&place, &place.data(), &id, &[]);
    is_restored(&here);
    let moved = go_on(&place, &there, &id, &[]);
    is_restored(&moved);
    assert_eq!(moved["token_ids"], here["token_ids"]);
    for count in ["tokens_total", "tokens_reused", "bytes_read"] {
        assert_eq!(moved["receipt"][count], here["receipt"][count]);
    }

    // Once more: a copy beside the one that went on meanwhile, with a state of its own.
    let copy = import(&place, &there, &file);
    assert_eq!(
        (&copy["copied"], &copy["original"], &copy["messages"]),
        (&true.into(), &id.as_str().into(), &4.into())
    );
    let other = text(&copy["conversation"]);
    assert_ne!(other, id);
    let again = go_on(&place, &there, other, &[]);
    is_restored(&again);
    assert_eq!(again["token_ids"], here["token_ids"]);
    assert_eq!(messages(&place, &there, &id)["messages"].as_array().unwrap().len(), 6);

    let told = run(place.command_on(&there).args(["history", "import"]).arg(&file));
    assert!(told.stdout.contains("a copy of one that was there already: 4 messages"), "{told:?}");
    assert!(told.stdout.contains("It resumes from the state of "), "{told:?}");
}

#[test]
fn a_model_that_comes_later_finds_the_state() {
    let Some(place) = Place::with_model() else { return };
    let (id, file) = packed(&place);
    let there = place.path("there");
    // No model, no engine, nothing but the file.
    let mut command = place.command_on(&there);
    let done = run(command
        .env("REPRISE_ENGINE_DIR", place.path("nowhere"))
        .args(["--json", "history", "import"])
        .arg(&file))
    .success();
    assert!(done["snapshot"].is_object(), "{done}");
    let model = place.path("arrived.gguf");
    fs::copy(crate::place::model().unwrap(), &model).unwrap();
    is_restored(&go_on(&place, &there, &id, &["--model", model.to_str().unwrap()]));
}

#[test]
fn a_changed_piece_costs_the_state_and_no_words() {
    let Some(place) = Place::with_model() else { return };
    let (id, file) = packed(&place);
    let mut bytes = fs::read(&file).unwrap();
    let there = place.path("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let done = import(&place, &there, &file);
    assert_eq!(
        (&done["snapshot"], &done["snapshot_refused"]["code"]),
        (&Value::Null, &"state_damaged".into())
    );
    is_clear(&done["snapshot_refused"]);
    assert_eq!(messages(&place, &there, &id), messages(&place, &place.data(), &id));
    let turn = go_on(&place, &there, &id, &[]);
    is_replayed(&turn, "no_snapshot");
    // The text says the same as where it comes from, where nothing was lost.
    assert_eq!(turn["token_ids"], go_on(&place, &place.data(), &id, &["--no-snapshots"])["token_ids"]);

    // Cut short behind the text, and within it.
    fs::write(&file, &bytes[..middle]).unwrap();
    let elsewhere = place.path("elsewhere");
    let done = import(&place, &elsewhere, &file);
    assert_eq!(done["snapshot_refused"]["code"], "state_damaged");
    fs::write(&file, &bytes[..2_000]).unwrap();
    let ended = run(place.command_on(&elsewhere).args(["--json", "history", "import"]).arg(&file));
    ended.failure("bundle_damaged");
    let listed = run(place.command_on(&elsewhere).args(["--json", "history", "list"])).success();
    assert_eq!(column(listed["conversations"].as_array().unwrap(), "id"), [id]);
}

#[test]
fn a_moved_state_is_believed_no_more_than_one_of_here() {
    let Some(place) = Place::with_model() else { return };
    let (id, file) = packed(&place);
    for (extra, code) in [(&["--kv-type", "q8_0"][..], "identity"), (&["--threads", "1"], "unqualified")] {
        let there = place.path(code);
        import(&place, &there, &file);
        is_replayed(&go_on(&place, &there, &id, extra), code);
    }
}

fn export<'a>(id: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    [&["history", "export", id, "--format", "bundle"], extra].concat()
}

#[test]
fn what_can_go_wrong_is_said() {
    let Some(place) = Place::with_model() else { return };
    let said = place.chat("Hello.", 4, &[]);
    let id = text(&said["conversation"]);
    // Without a name it is called after the conversation, and lies where one is.
    let done = place.json(export(id, &[]));
    assert_eq!(done["file"], format!("{id}.reprise"));
    assert_eq!((&done["snapshot"], &done["snapshot_left_out"]["code"]), (&Value::Null, &"too_short".into()));
    place.fails("file_exists", export(id, &[]));
    place.json(export(id, &["--overwrite"]));
    assert_eq!(
        place.json(export(id, &["--overwrite", "--no-snapshots"]))["snapshot_left_out"]["code"],
        "disabled"
    );
    place.fails("export_failed", export(id, &["-o", "missing/x.reprise"]));
    let told = place.run(export(id, &["--overwrite"])).stdout;
    assert!(told.contains("2 messages") && told.contains("without a state: "), "{told}");
    place.fails("file_unreadable", ["history", "import", "missing.reprise"]);
    place.fails("file_unreadable", ["history", "import", "."]);
    place.json(["history", "export", id, "--output", "text.json"]);
    let error = place.fails("not_a_bundle", ["history", "import", "text.json"]);
    assert!(text(&error["error"]["message"]).contains("as JSON"), "{error}");
    let model = crate::place::model().unwrap();
    place.fails("not_a_bundle", ["history", "import", model.to_str().unwrap()]);
    assert_eq!(place.count(), 1);
    let copy = place.json(["history", "import", &format!("{id}.reprise"), "--no-snapshots"]);
    assert_eq!((&copy["copied"], &copy["snapshot_refused"]), (&true.into(), &Value::Null));
    assert_eq!(place.count(), 2);
}

#[test]
fn a_state_that_finds_no_room_leaves_the_text() {
    let Some(place) = Place::with_model() else { return };
    let (id, file) = packed(&place);
    for (megabytes, code) in [(24, "state_too_large"), (200, "disk_low")] {
        let at = place.path(&format!("disk-{megabytes}"));
        let Some(_disk) = SmallDisk::mount(&at, megabytes) else { return };
        let data = at.join("data");
        let done = import(&place, &data, &file);
        assert_eq!(
            (&done["snapshot"], &done["snapshot_refused"]["code"]),
            (&Value::Null, &code.into()),
            "{done}"
        );
        is_clear(&done["snapshot_refused"]);
        assert_eq!(messages(&place, &data, &id), messages(&place, &place.data(), &id));
    }
}

/// The most memory that a command took, in MB, and what it printed.
fn most_memory(command: &mut Command) -> (f64, Value) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0_f64;
    while child.try_wait().unwrap().is_none() {
        let now = fs::read_to_string(&status).unwrap_or_default();
        let line = now.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
        most = most.max(kib / 1000.0);
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    (most, serde_json::from_str(&said).unwrap())
}

#[test]
fn a_hundred_megabytes_of_state_pass_through_a_few() {
    let Some(place) = Place::with_model() else { return };
    let said = place.chat(&opening().repeat(13), 1, &[]);
    let id = text(&said["conversation"]);
    let (idle, _) = most_memory(place.command().args(["--json", "history", "list"]));
    let file = place.path("large.reprise");
    let mut export = place.command();
    export.args(["--json", "history", "export", id, "--format", "bundle", "-o"]).arg(&file);
    let (exporting, packed) = most_memory(&mut export);
    assert!(packed["snapshot"]["state_bytes"].as_u64() > Some(90_000_000), "{packed}");
    let there = place.path("there");
    let (importing, done) =
        most_memory(place.command_on(&there).args(["--json", "history", "import"]).arg(&file));
    assert!(done["snapshot"].is_object(), "{done}");
    let (out, back) = (exporting - idle, importing - idle);
    eprintln!(
        "{} MB: {out:.1} MB more than a listing to export it in {:.0} ms, {back:.1} to import it in {:.0} ms",
        packed["bytes"].as_f64().unwrap() / 1e6,
        packed["ms"].as_f64().unwrap(),
        done["ms"].as_f64().unwrap()
    );
    // What the databases keep in memory of themselves is most of it.
    assert!(out < 32.0 && back < 48.0, "{out} {back}");
}
