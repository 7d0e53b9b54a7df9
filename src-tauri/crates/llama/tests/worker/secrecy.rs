//! What the worker keeps to itself, and what it does not take from around it.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use reprise_engine::message::Role;
use reprise_engine::process::{EngineFolder, PROGRAM};
use reprise_engine::{EngineHandle, Fault, Limits};

use crate::processes::{play, worker_of};
use crate::rig::{Rig, SMOLLM2, ask, engine_dir, fault, long_text, model, never, say, spec, user};

#[tokio::test]
async fn conversations_are_not_logged() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let marker = "Zanzibar7f3a";
    let messages = vec![
        say(Role::User, &format!("Repeat: {marker}")),
        say(Role::Assistant, marker),
        say(Role::User, &format!("Repeat: {marker}")),
    ];
    let answer = rig.ask(ask(messages, 12)).await;
    assert!(answer.text.contains(marker), "{}", answer.text);
    let refused = rig.try_ask(ask(user(&format!("{marker} {}", long_text(2000))), 1)).await;
    assert!(matches!(fault(refused), Fault::PromptTooLong { .. }));
    rig.engine.shutdown().await;
    let logged = rig.logged();
    assert!(logged.iter().any(|(_, text)| text.contains("model loaded")), "there is no log: {logged:?}");
    for (path, text) in logged {
        assert!(!text.contains(marker), "{}: {text}", path.display());
    }
}

#[test]
fn settings_for_ggml_are_not_inherited() {
    let foreign = [("GGML_BACKEND_PATH", "/tmp/planted.so"), ("LLAMA_ARG_X", "1")];
    let control = ("REPRISE_TEST_CONTROL", "1");
    let mut parent = play("idle", &[foreign[0], foreign[1], control]);
    let worker = worker_of(&mut parent);
    let environment = fs::read(format!("/proc/{worker}/environ")).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains(control.0));
    for (name, _) in foreign {
        assert!(!environment.contains(name), "{name}");
    }
}

/// Copies what lies in the engine folder and fits.
fn copy_engine(to: &Path, fits: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(engine_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && fits(&name) {
            fs::copy(&path, to.join(&name)).unwrap();
        }
    }
}

fn is_module(name: &str) -> bool {
    name.starts_with("libggml-cpu-")
}

fn is_library(name: &str) -> bool {
    name.contains(".so") && !is_module(name)
}

/// Modules lie in the current directory and not in the engine folder: planted ones are not touched.
#[tokio::test]
async fn modules_come_from_the_engine_folder_only() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (engine, planted) = (folder.path().join("engine"), folder.path().join("planted"));
    fs::create_dir(&engine).unwrap();
    fs::create_dir(&planted).unwrap();
    copy_engine(&engine, |name| name == PROGRAM || is_library(name));
    copy_engine(&planted, is_module);
    // The app starts it from the engine folder; here it is started from elsewhere.
    let script = folder.path().join("start");
    let text = format!(
        "#!/bin/sh\ncd '{}' && exec '{}' \"$@\"\n",
        planted.display(),
        engine.join(PROGRAM).display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();

    let logs = folder.path().join("logs");
    for start in [EngineFolder::with_program(&script, &logs), EngineFolder::new(&engine, &logs)] {
        let handle = EngineHandle::start(start, Limits::default());
        let hello = handle.hello().await.unwrap();
        let cwd = fs::read_link(format!("/proc/{}/cwd", hello.pid)).unwrap();
        assert!(cwd == planted || cwd == engine, "{}", cwd.display());
        assert_eq!((hello.modules.as_slice(), hello.devices.as_slice()), (&[][..], &[][..]));
        let (progress, _unread) = tokio::sync::mpsc::channel(1);
        let refused = handle.load(spec(&smollm2), progress, never()).await;
        assert_eq!(fault(refused), Fault::NoBackend);
        handle.ping().await.unwrap();
    }

    // The control: the same folder with its modules.
    copy_engine(&engine, is_module);
    let handle = EngineHandle::start(EngineFolder::new(&engine, &logs), Limits::default());
    assert_eq!(handle.hello().await.unwrap().devices.len(), 1);
    let (progress, _unread) = tokio::sync::mpsc::channel(1);
    handle.load(spec(&smollm2), progress, never()).await.unwrap();
}
