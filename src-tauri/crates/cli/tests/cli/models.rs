//! Model files that cannot be used: one clear sentence each, and no conversation begins.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::folders::as_nobody;
use crate::place::{Place, model, skip, text};

/// The command fails with `code`, the sentence holds `part`, and the library is as it was.
#[track_caller]
fn refused(place: &Place, file: &Path, code: &str, part: &str) {
    let file = file.to_str().unwrap();
    let said = place.chat_fails(code, "Hello.", &["--model", file]);
    let message = text(&said["error"]["message"]);
    assert!(message.contains(part), "{message}");
    assert!(said.get("conversation").is_none(), "nothing was begun: {said}");
    assert_eq!(place.count(), 1);
    // The doctor is asked about the same files.
    let doctor = place.fails(code, ["doctor", "--model", file]);
    assert_eq!(doctor["error"], said["error"]);
}

#[test]
fn files_that_are_no_model() {
    let Some(place) = Place::with_model() else { return };
    let kept = place.chat("Keep this.", 1, &[]);
    let path = |name: &str| place.path(name);

    fs::write(path("notes.txt"), "not a model, but long enough to be read as one").unwrap();
    refused(&place, &path("notes.txt"), "model_not_gguf", "notes.txt");
    fs::write(path("empty.gguf"), "").unwrap();
    refused(&place, &path("empty.gguf"), "model_not_gguf", "empty.gguf");
    refused(&place, place.root(), "model_is_directory", "folder");
    refused(&place, &path("missing.gguf"), "model_missing", "missing.gguf");
    refused(&place, &path("notes.txt/below.gguf"), "model_missing", "below.gguf");

    // Cut short: within the header, within the metadata, within the weights.
    let whole = model().unwrap();
    for length in [4, 20, 5_000, 50_000_000] {
        let mut bytes = Vec::new();
        File::open(&whole).unwrap().take(length).read_to_end(&mut bytes).unwrap();
        fs::write(path("cut.gguf"), bytes).unwrap();
        refused(&place, &path("cut.gguf"), "model_damaged", "cut.gguf");
    }
    assert_eq!(place.messages(text(&kept["conversation"])).len(), 2);
}

#[test]
fn an_architecture_of_tomorrow() {
    let Some(place) = Place::with_model() else { return };
    place.chat("Keep this.", 1, &[]);
    let file = place.path("tomorrow.gguf");
    fs::copy(model().unwrap(), &file).unwrap();
    // A key with its type (8: string), the value's length, the value.
    let key = b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0";
    let mut head = vec![0; 4096];
    File::open(&file).unwrap().read_exact(&mut head).unwrap();
    let at = head.windows(key.len()).position(|window| window == key).expect("the key is at the beginning");
    let mut patched = File::options().write(true).open(&file).unwrap();
    patched.seek(SeekFrom::Start((at + key.len()) as u64)).unwrap();
    patched.write_all(b"zebra").unwrap();
    drop(patched);
    refused(&place, &file, "model_unsupported", "zebra");
}

#[test]
fn a_file_that_may_not_be_read() {
    let Some(place) = Place::with_model() else { return };
    let file = place.path("private.gguf");
    fs::write(&file, "GGUF").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = place.chat_command(&["Hello."], 1, &["--model", file.to_str().unwrap()]);
    let Some(ended) = as_nobody(&place, &mut command) else { return };
    let said = ended.failure("model_unreadable");
    assert!(text(&said["error"]["message"]).contains("private.gguf"), "{said}");
}

#[test]
fn a_name_that_is_not_unicode() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let Some(place) = Place::with_model() else { return };
    let name = OsStr::from_bytes(b"caf\xe9.gguf");
    for args in [&["chat", "--prompt", "Hello.", "--model"][..], &["doctor", "--model"]] {
        place.fails("model_unreadable", args.iter().map(OsStr::new).chain([name]));
    }
    assert_eq!(place.count(), 0);
}

#[test]
fn a_device_that_is_not_there() {
    let place = Place::new();
    let chat = ["chat", "--model", "m.gguf", "--prompt", "Hello.", "--backend", "cuda"];
    let said = place.fails("no_such_device", chat);
    assert!(text(&said["error"]["message"]).contains("cuda"), "{said}");
    place.fails("no_such_device", ["doctor", "--backend", "cuda"]);
    assert_eq!(place.count(), 0);
    if Path::new("/proc/driver/nvidia").exists() {
        skip("there is an NVIDIA GPU, and this version does not use it");
    }
}
