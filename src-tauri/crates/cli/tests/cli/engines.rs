//! Engine folders that are not whole.

use std::fs;
use std::path::Path;

use crate::place::{Place, engine_dir, model, text};

/// Both commands fail with `code`, and nothing was begun.
#[track_caller]
fn refused(place: &Place, folder: &Path, code: &str, part: &str) {
    let (folder, model) = (folder.to_str().unwrap(), model().unwrap());
    let model = model.to_str().unwrap();
    let args = ["--engine-dir", folder, "chat", "--model", model, "--prompt", "Hello."];
    let said = place.fails(code, args);
    let message = text(&said["error"]["message"]);
    assert!(message.contains(part), "{message}");
    assert_eq!(place.count(), 0);
}

/// A copy of the engine folder; `wanted` chooses among the files' names.
fn copy(to: &Path, wanted: impl Fn(&str) -> bool) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(engine_dir()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let engine = name == "reprise-engine" || name.starts_with("lib") && name.contains(".so");
        if engine && wanted(&name) {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

#[test]
fn folders_without_a_whole_engine() {
    let Some(place) = Place::with_model() else { return };
    refused(&place, &place.path("nowhere"), "engine_missing", "nowhere");
    fs::create_dir(place.path("empty")).unwrap();
    refused(&place, &place.path("empty"), "engine_missing", "empty");
    fs::create_dir_all(place.path("odd/reprise-engine")).unwrap();
    refused(&place, &place.path("odd"), "engine_missing", "odd");

    copy(&place.path("no-modules"), |name| !name.starts_with("libggml-cpu"));
    refused(&place, &place.path("no-modules"), "no_backend", "module");
    let doctor = place.json(["--engine-dir", "no-modules", "doctor"]);
    assert!(doctor["decision"].is_null(), "the doctor says so instead of failing: {doctor}");
    let text = place.run(["--engine-dir", "no-modules", "doctor"]).stdout;
    assert!(text.contains("no compute module could be loaded"), "{text}");

    copy(&place.path("no-libraries"), |name| name == "reprise-engine");
    refused(&place, &place.path("no-libraries"), "engine_died", "engine");
}

#[test]
fn a_copied_folder_is_an_engine() {
    let Some(place) = Place::with_model() else { return };
    copy(&place.path("whole"), |_| true);
    place.chat("Hello.", 1, &["--engine-dir", "whole"]);
}
