//! Data folders that cannot be used. What was there is there afterwards.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::place::{Ended, Place, model, run, skip, text};

const NOBODY: u32 = 65_534;

/// Runs a command as somebody whom permission bits bind, which they do not root; `None`, and said so,
/// where that cannot be done.
pub fn as_nobody(place: &Place, command: &mut Command) -> Option<Ended> {
    let am_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !am_root {
        return Some(run(command));
    }
    chmod(place.root(), 0o755);
    chown(place.root(), Some(NOBODY), Some(NOBODY)).unwrap();
    let reaches = |path: &Path| {
        let mut test = Command::new("test");
        test.arg("-r").arg(path).uid(NOBODY).gid(NOBODY);
        test.status().is_ok_and(|status| status.success())
    };
    if !model().is_some_and(|model| reaches(&model)) || !reaches(Path::new(command.get_program())) {
        skip("running as root, and another user cannot reach the program or the model");
        return None;
    }
    Some(run(command.uid(NOBODY).gid(NOBODY)))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Chat fails with `code` and names the data folder; so do reading commands, unless they work.
#[track_caller]
fn refused(place: &Place, data: &Path, code: &str) -> Value {
    let mut command = place.chat_command(&["Hello."], 1, &[]);
    let said = run(command.env("REPRISE_DATA_DIR", data)).failure(code);
    let message = text(&said["error"]["message"]);
    assert!(message.contains(data.to_str().unwrap()), "{message}");
    said
}

fn list(place: &Place, data: &Path) -> Ended {
    run(place.command_on(data).args(["--json", "history", "list"]))
}

#[test]
fn a_path_that_is_no_folder() {
    let Some(place) = Place::with_model() else { return };
    let file = place.path("file");
    fs::write(&file, "precious").unwrap();
    refused(&place, &file, "data_dir_unusable");
    list(&place, &file).failure("data_dir_unusable");
    run(place.command_on(&file).args(["--json", "doctor"])).failure("data_dir_unusable");
    refused(&place, &file.join("below"), "data_dir_unusable");
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let deep = place.path("missing").join("data");
    refused(&place, &deep, "data_dir_unusable");
    run(place.command_on(&deep).args(["--json", "doctor"])).failure("data_dir_unusable");
    assert!(!place.path("missing").exists(), "an unmounted disk must not look like an empty library");
    // Reading what is not there finds nothing, and makes nothing.
    let listed = list(&place, &place.path("new")).success();
    assert_eq!(listed["conversations"], serde_json::json!([]));
    assert!(!place.path("new").exists());
}

#[test]
fn a_folder_that_cannot_be_written() {
    let Some(place) = Place::with_model() else { return };
    let kept = place.chat("Keep this.", 1, &[]);
    let data = place.data();
    for entry in fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        chmod(&path, if path.is_dir() { 0o555 } else { 0o444 });
    }
    chmod(&data, 0o555);
    let id = text(&kept["conversation"]).to_owned();
    let ended = as_nobody(&place, &mut place.chat_command(&["Hello."], 1, &["--conversation", &id]));
    let Some(ended) = ended else { return };
    let said = ended.failure("data_dir_readonly");
    assert!(text(&said["error"]["message"]).contains("data"), "{said}");
    assert_eq!(ended.stderr, "");
    let mut trash = place.command();
    as_nobody(&place, trash.args(["--json", "history", "trash", &id])).unwrap().failure("data_dir_readonly");
    // Reading works, and so does the doctor.
    let mut show = place.command();
    let shown = as_nobody(&place, show.args(["--json", "history", "show", &id])).unwrap().success();
    assert_eq!(shown["messages"][0]["text"], "Keep this.");
    let mut doctor = place.command();
    let seen = as_nobody(&place, doctor.args(["--json", "doctor"])).unwrap();
    assert!(seen.success()["decision"].is_object());
    assert_eq!(seen.stderr, "");
    // Nor can one be made where nothing may be made.
    let mut elsewhere = place.chat_command(&["Hello."], 1, &[]);
    elsewhere.env("REPRISE_DATA_DIR", data.join("below"));
    as_nobody(&place, &mut elsewhere).unwrap().failure("data_dir_readonly");
    let mut doctor = place.command_on(&data.join("below"));
    as_nobody(&place, doctor.args(["--json", "doctor"])).unwrap().success();
    chmod(&data, 0o755);
}

/// A small disk in memory; gone with this value.
pub struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    pub fn mount(at: &'a Path, megabytes: u32) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        let mounted =
            mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        skip("no small disk can be mounted here, so none can be filled");
        None
    }

    /// Leaves no room at all.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let Some(place) = Place::with_model() else { return };
    let at = place.path("disk");
    let Some(disk) = SmallDisk::mount(&at, 4) else { return };
    let data = at.join("data");
    let chat = |prompt: &str, extra: &[&str]| {
        let mut command = place.chat_command(&[prompt], 8, extra);
        run(command.env("REPRISE_DATA_DIR", &data))
    };
    let kept = chat("Keep this.", &[]).success();
    let id = text(&kept["conversation"]);
    let show = || run(place.command_on(&data).args(["--json", "history", "show", id])).success();
    let before = show();

    disk.fill();
    let refused = chat("No room for this.", &["--conversation", id]);
    let said = refused.failure("disk_full");
    assert!(said.get("conversation").is_none(), "it was not kept, and nothing says so: {said}");
    assert!(!refused.stderr.contains("rror"), "{}", refused.stderr);
    assert_eq!(show(), before, "still full");
    disk.free();
    assert_eq!(show(), before);
    let next = chat("Now there is room.", &["--conversation", id]).success();
    assert_eq!(show()["active_leaf"], next["node"]);
}

#[test]
fn a_state_that_finds_no_room_is_told_once_and_the_chat_goes_on() {
    let Some(place) = Place::with_model() else { return };
    let at = place.path("disk");
    let Some(_disk) = SmallDisk::mount(&at, 128) else { return };
    let data = at.join("data");
    // About 400 tokens, a state of 10 MB: less than half of the budget, but more stays free on a disk.
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(40);
    let mut command = place.chat_command(&[&long, "And then?"], 8, &[]);
    let ended = run(command.env("REPRISE_DATA_DIR", &data));
    let turns = ended.success();
    let turns = turns["turns"].as_array().unwrap();
    assert_eq!(turns.iter().map(|turn| &turn["saved"]).collect::<Vec<_>>(), [&Value::Null, &Value::Null]);
    assert_eq!(ended.stderr.matches("The state was not saved").count(), 1, "{}", ended.stderr);
    let shown =
        run(place.command_on(&data).args(["--json", "history", "show", text(&turns[0]["conversation"])]));
    assert_eq!(shown.success()["messages"].as_array().unwrap().len(), 4);
}

#[test]
fn a_library_of_a_newer_version_is_left_alone() {
    let Some(place) = Place::with_model() else { return };
    place.chat("From tomorrow.", 1, &[]);
    let file = place.data().join("history.db");
    let mut bytes = fs::read(&file).unwrap();
    // SQLite's header keeps PRAGMA user_version at byte 60, big endian.
    bytes[60..64].copy_from_slice(&9999_u32.to_be_bytes());
    fs::write(&file, &bytes).unwrap();
    let said = refused(&place, &place.data(), "data_newer");
    assert!(text(&said["error"]["message"]).contains("9999"), "{said}");
    list(&place, &place.data()).failure("data_newer");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_library_that_is_garbage_is_left_alone() {
    let Some(place) = Place::with_model() else { return };
    fs::create_dir(place.data()).unwrap();
    let file = place.data().join("history.db");
    let garbage = "this is no database. ".repeat(500);
    fs::write(&file, &garbage).unwrap();
    refused(&place, &place.data(), "data_damaged");
    list(&place, &place.data()).failure("data_damaged");
    assert_eq!(fs::read_to_string(&file).unwrap(), garbage);
}
