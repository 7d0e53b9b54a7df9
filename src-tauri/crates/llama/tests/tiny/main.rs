//! Writes tiny models with random weights and a real vocabulary, one for each way in which llama.cpp
//! remembers, so that tests have models of every kind without fetching any.
//!
//! `reprise-tiny-models STARTER.gguf OUT_FOLDER` takes tokenizer and chat template from the starter model.
//! The same starter gives the same bytes, everywhere. Files appear under their names when they are whole, and
//! right ones stay as they are; so several processes may write into one folder at once.
//!
//! To add a kind: a function in `kinds`, and its line in `kinds::all`.
#![expect(clippy::unwrap_used, reason = "a program of tests: what it cannot go on without fails it")]

#[path = "../worker/gguf.rs"]
#[allow(dead_code, reason = "the worker's tests edit files, this program makes them")]
mod gguf;
mod head;
mod kinds;
mod tensor;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use gguf::Gguf;
use kinds::Kind;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [starter, folder] = arguments.as_slice() else {
        eprintln!("usage: reprise-tiny-models STARTER.gguf OUT_FOLDER");
        return ExitCode::from(2);
    };
    let (starter, folder) = (Gguf::read(starter.as_ref()), Path::new(folder));
    fs::create_dir_all(folder).unwrap();
    for kind in kinds::all(&starter) {
        write(&kind, folder);
    }
    ExitCode::SUCCESS
}

/// To make one takes no longer than to read it, so it is made each time, and kept where it is right already.
fn write(kind: &Kind, folder: &Path) {
    let mut bytes = kind.gguf.head();
    kind.tensors.iter().for_each(|tensor| bytes.extend(tensor.data(kind.name)));
    let path = folder.join(format!("{}.gguf", kind.name));
    if fs::read(&path).is_ok_and(|found| found == bytes) {
        return;
    }
    let fresh = folder.join(format!(".{}.{}.new", kind.name, std::process::id()));
    fs::write(&fresh, bytes).unwrap();
    fs::rename(&fresh, &path).unwrap();
}
