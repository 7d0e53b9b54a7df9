//! Real child processes in the worker's place: each misbehaves in its own way (`worker.py`), and none
//! may hold up the app or stay behind.
//!
//! The clock is the real one here. The limits that a test waits for are short; those that a healthy
//! worker must keep are long, so that a busy machine breaks no test.

use std::collections::BTreeMap;
use std::future::Future;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use reprise_engine::message::PROTOCOL_VERSION;
use reprise_engine::process::EngineFolder;
use reprise_engine::{Death, Direction, EngineError, EngineHandle, Fault, Limits};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{end, model, never, read};

/// For what must come, however busy the machine is.
const AGES: Duration = Duration::from_mins(1);
/// For what must not come: long enough only for the test to be quick.
const MOMENT: Duration = Duration::from_millis(500);

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(AGES, what).await.expect("it hangs")
}

/// The engine folder and the log folder of one test.
struct Stage {
    folder: TempDir,
    name: &'static str,
}

impl Stage {
    fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A link: a file written here could not be executed while another test forks.
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/worker.py");
        symlink(script, folder.path().join(name)).unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        Self { folder, name }
    }

    fn start(&self, limits: Limits) -> EngineHandle {
        let program = self.folder.path().join(self.name);
        EngineHandle::start(EngineFolder::with_program(&program, &self.folder.path().join("logs")), limits)
    }

    fn log(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("logs").join(name)
    }

    /// The processes that were started so far.
    fn pids(&self) -> Vec<String> {
        let pids = std::fs::read_to_string(self.log("pids")).unwrap_or_default();
        pids.lines().map(str::to_owned).collect()
    }

    /// Asserts that so many processes were started and none of them exists, not even as a zombie.
    fn assert_nothing_is_left(&self, started: usize) {
        let pids = self.pids();
        assert_eq!(pids.len(), started, "{pids:?}");
        for pid in pids {
            assert!(!exists(&pid), "process {pid} is still there");
        }
    }
}

/// Whether there is a process of this number; a zombie is one.
fn exists(pid: &str) -> bool {
    let kill = Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap();
    kill.success()
}

fn patient() -> Limits {
    let mut limits = Limits::default();
    for limit in [&mut limits.handshake, &mut limits.load, &mut limits.settle, &mut limits.ping] {
        *limit = AGES;
    }
    limits
}

async fn load(engine: &EngineHandle) -> EngineError {
    in_time(engine.load(model(), mpsc::channel(1).0, never())).await.unwrap_err()
}

/// Starts workers that do not get as far as an introduction: twice, and what is said of it.
async fn fails_to_start(name: &'static str, sentence: &str) {
    fails_to_start_within(name, patient(), 2, sentence).await;
}

async fn fails_to_start_within(name: &'static str, limits: Limits, started: usize, sentence: &str) {
    let stage = Stage::new(name);
    let engine = stage.start(limits);
    let error = in_time(engine.hello()).await.unwrap_err();
    assert_eq!(error.to_string(), sentence);
    assert!(matches!(error, EngineError::Died(_)));
    stage.assert_nothing_is_left(started);
    in_time(engine.shutdown()).await;
}

#[tokio::test]
async fn a_program_that_exits_at_once() {
    fails_to_start("exits_at_once", "The engine stopped (exit code 7).").await;
}

#[tokio::test]
async fn a_program_that_aborts() {
    fails_to_start("aborts", "The engine stopped (it aborted).").await;
}

#[tokio::test]
async fn a_program_that_writes_garbage() {
    let sentence = "The engine sent something unreadable and was stopped (not a message, as seen at byte 1).";
    fails_to_start("writes_garbage", sentence).await;
}

#[tokio::test]
async fn a_program_that_writes_a_huge_length() {
    let sentence = "The engine sent something unreadable and was stopped (a frame of 4294967295 bytes).";
    fails_to_start("writes_a_huge_length", sentence).await;
}

#[tokio::test]
async fn a_program_that_dies_within_a_frame() {
    fails_to_start("dies_within_a_frame", "The engine stopped (exit code 8).").await;
}

#[tokio::test]
async fn a_program_that_closes_its_pipe_and_lives_on() {
    let sentence = "The engine stopped (it closed its connection without ending, and was killed).";
    fails_to_start("closes_its_voice", sentence).await;
}

#[tokio::test]
async fn a_program_that_does_not_introduce_itself() {
    let sentence = "The engine sent something unreadable and was stopped (it did not introduce itself).";
    fails_to_start("does_not_introduce_itself", sentence).await;
}

#[tokio::test]
async fn a_program_of_another_version_is_understood_well_enough_to_say_so() {
    let sentence = format!("The engine is of another version (protocol 9, expected {PROTOCOL_VERSION}).");
    fails_to_start_within("speaks_of_the_future", patient(), 1, &sentence).await;
}

/// Starts two workers that never get as far as a whole frame.
async fn stays_silent(name: &'static str) {
    let stage = Stage::new(name);
    let engine = stage.start(Limits { handshake: Duration::from_secs(1), ..patient() });
    let error = in_time(engine.hello()).await.unwrap_err();
    assert_eq!(error.to_string(), "The engine did not respond for 1 s and was stopped.");
    assert_eq!(engine.status().borrow().deaths, 2);
    // On a very busy machine one may have ended before it noted its number.
    stage.assert_nothing_is_left(stage.pids().len());
}

#[tokio::test]
async fn a_program_that_says_nothing() {
    stays_silent("says_nothing").await;
}

#[tokio::test]
async fn a_program_that_stops_within_a_frame() {
    stays_silent("stops_within_a_frame").await;
}

#[tokio::test]
async fn a_program_that_is_missing_or_cannot_be_started() {
    let folder = tempfile::tempdir().unwrap();
    let no_program = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    for (path, why) in [
        (folder.path().join("nothing"), "is missing"),
        (folder.path().to_owned(), "is missing"),
        (no_program, "(Permission denied (os error 13))"),
    ] {
        let spawner = EngineFolder::with_program(&path, folder.path());
        let error = in_time(EngineHandle::start(spawner, patient()).hello()).await.unwrap_err();
        let sentence = format!("The engine could not be started: {} {why}.", path.display());
        assert_eq!((error.to_string(), error.code()), (sentence, "engine_missing"));
    }
}

#[tokio::test]
async fn a_process_that_freezes_at_work_is_found_and_replaced() {
    let stage = Stage::new("freezes_at_work");
    let limits = Limits { ping_every: Duration::from_millis(100), ping: Duration::from_secs(1), ..patient() };
    let engine = stage.start(limits);
    let first = in_time(engine.hello()).await.unwrap().pid;
    assert_eq!(load(&engine).await, EngineError::Died(Death::Silent(1)));
    assert!(!exists(&first.to_string()));
    let mut status = engine.status();
    in_time(status.wait_for(|status| status.worker.is_some())).await.unwrap();
    let second = status.borrow().worker.clone().unwrap().pid;
    assert_ne!(first, second);
    in_time(engine.shutdown()).await;
    stage.assert_nothing_is_left(2);
}

#[tokio::test]
async fn a_process_that_answers_no_ping_is_found_while_there_is_no_work() {
    let stage = Stage::new("is_deaf");
    let engine = stage.start(Limits { ping: Duration::from_secs(1), ..patient() });
    in_time(engine.hello()).await.unwrap();
    assert_eq!(in_time(engine.ping()).await, Err(EngineError::Died(Death::Silent(1))));
    stage.assert_nothing_is_left(1);
}

#[tokio::test]
async fn a_process_that_is_killed_at_work() {
    let stage = Stage::new("is_killed_at_work");
    let engine = stage.start(patient());
    let error = load(&engine).await;
    assert_eq!(error.to_string(), "The engine stopped (it was killed).");
    in_time(engine.shutdown()).await;
    stage.assert_nothing_is_left(stage.pids().len());
}

#[tokio::test]
async fn a_process_that_heeds_neither_shutdown_nor_signal_is_killed() {
    let stage = Stage::new("does_not_end");
    let engine = stage.start(Limits { shutdown: MOMENT, ..patient() });
    in_time(engine.hello()).await.unwrap();
    in_time(engine.shutdown()).await;
    stage.assert_nothing_is_left(1);
}

#[tokio::test]
async fn a_process_that_behaves_ends_by_itself() {
    let stage = Stage::new("behaves");
    let engine = stage.start(Limits { shutdown: AGES, ..patient() });
    in_time(engine.ping()).await.unwrap();
    in_time(engine.shutdown()).await;
    stage.assert_nothing_is_left(1);
}

#[test]
fn a_runtime_that_ends_takes_the_process_with_it() {
    let stage = Stage::new("does_not_end");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = runtime.block_on(async {
        let engine = stage.start(patient());
        in_time(engine.hello()).await.unwrap();
        engine
    });
    drop(runtime);
    // Another thread collects it, and nothing here is told when.
    let pid = stage.pids().concat();
    let gone = std::time::Instant::now() + AGES;
    while exists(&pid) {
        assert!(std::time::Instant::now() < gone, "process {pid} is still there");
        std::thread::yield_now();
    }
    drop(engine);
}

#[tokio::test]
async fn a_state_frame_beyond_the_cap_ends_the_process() {
    let stage = Stage::new("sends_too_much_state");
    let engine = stage.start(patient());
    let error = in_time(engine.move_state(1, Direction::FromWorker)).await.unwrap_err();
    let sentence =
        "The engine sent something unreadable and was stopped (a frame of 4294967295 bytes of state).";
    assert_eq!(error.to_string(), sentence);
    in_time(engine.shutdown()).await;
    stage.assert_nothing_is_left(stage.pids().len());
}

#[tokio::test]
async fn state_moves_through_real_pipes() {
    let stage = Stage::new("moves_state");
    let engine = stage.start(patient());
    for bytes in [(5 << 20) + 1, 0, 1] {
        for direction in [Direction::FromWorker, Direction::ToWorker] {
            in_time(engine.move_state(bytes, direction)).await.unwrap();
        }
    }
    in_time(engine.ping()).await.unwrap();
    in_time(engine.shutdown()).await;
    stage.assert_nothing_is_left(1);
}

#[tokio::test]
async fn a_conversation_too_large_for_a_frame_is_refused_and_costs_no_worker() {
    let stage = Stage::new("behaves");
    let engine = stage.start(patient());
    let mut spec = crate::question("");
    // Every one of these takes six bytes in JSON.
    spec.messages[0].content = "\u{1}".repeat(12 << 20);
    let answer = in_time(engine.generate(spec, never())).await.unwrap();
    match end(&read(answer).await) {
        Err(EngineError::Fault(Fault::RequestTooLarge { bytes })) => assert!(bytes > 72 << 20, "{bytes}"),
        other => panic!("{other:?}"),
    }
    in_time(engine.ping()).await.unwrap();
    assert_eq!(stage.pids().len(), 1);
}

#[tokio::test]
async fn what_it_prints_is_kept_within_bounds() {
    const CAP: u64 = 1 << 20;
    let stage = Stage::new("babbles_into_the_log");
    let engine = stage.start(patient());
    in_time(engine.ping()).await.unwrap();
    let sizes =
        ["engine-output.log", "engine-output.1.log"].map(|name| stage.log(name).metadata().unwrap().len());
    assert!(sizes.iter().all(|size| *size <= CAP), "{sizes:?}");
    in_time(engine.shutdown()).await;
}

#[tokio::test]
async fn a_log_that_cannot_be_written_does_not_stop_the_engine() {
    let stage = Stage::new("babbles_into_the_log");
    let program = stage.folder.path().join("babbles_into_the_log");
    // The script itself notes its number there.
    let logs = stage.folder.path().join("logs");
    std::fs::create_dir(logs.join("engine-output.log")).unwrap();
    let engine = EngineHandle::start(EngineFolder::with_program(&program, &logs), patient());
    in_time(engine.ping()).await.unwrap();
    in_time(engine.shutdown()).await;
}

/// What a worker finds around itself when it starts.
#[derive(Debug, serde::Deserialize)]
struct Found {
    arguments: Vec<String>,
    folder: std::path::PathBuf,
    environment: BTreeMap<String, String>,
    input: String,
    files: BTreeMap<u32, String>,
    group: bool,
}

async fn look_around() -> (Stage, Found) {
    let stage = Stage::new("looks_around");
    let engine = stage.start(patient());
    in_time(engine.hello()).await.unwrap();
    let found = serde_json::from_slice(&std::fs::read(stage.log("found.json")).unwrap()).unwrap();
    in_time(engine.shutdown()).await;
    (stage, found)
}

#[tokio::test]
async fn a_worker_runs_in_its_folder_in_a_group_of_its_own() {
    let (stage, found) = look_around().await;
    let folder = stage.folder.path();
    assert_eq!(found.arguments, ["--log-dir", folder.join("logs").to_str().unwrap()]);
    assert_eq!(found.folder, folder.canonicalize().unwrap());
    assert!(found.group);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_worker_has_its_pipes_and_no_other_file_of_ours() {
    // Another worker's pipes and a file of ours must not reach it.
    let other = Stage::new("behaves");
    let engine = other.start(patient());
    in_time(engine.hello()).await.unwrap();
    let _ours = std::fs::File::open(other.log("pids")).unwrap();
    let (_stage, found) = look_around().await;

    for number in 1..=6 {
        let what = &found.files[&number];
        assert!(what.starts_with("pipe:"), "{number}: {what}");
    }
    assert_eq!(found.files[&0], "/dev/null");
    assert_eq!(found.files[&1], found.files[&2]);
    let more: Vec<_> = found.files.iter().filter(|(number, _)| !given_to_us(**number)).collect();
    assert_eq!(more.len(), 7, "{more:?}");
    in_time(engine.shutdown()).await;
}

#[cfg(target_os = "linux")]
const CLOSE_ON_EXEC: u32 = 0o2_000_000;

/// Whether whoever started this test left a descriptor of this number open for every program to come.
#[cfg(target_os = "linux")]
fn given_to_us(number: u32) -> bool {
    let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else {
        return false;
    };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
    number > 6 && u32::from_str_radix(flags, 8).unwrap() & CLOSE_ON_EXEC == 0
}

#[test]
fn settings_and_input_of_ours_do_not_reach_a_worker() {
    const OURS: &str = "REPRISE_TEST_ENVIRONMENT";
    // Only a process that is started with them has them: this test starts itself once more, with
    // something to read.
    if std::env::var_os(OURS).is_none() {
        let us = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::settings_and_input_of_ours_do_not_reach_a_worker"])
            .env(OURS, "1")
            .env("GGML_BACKEND_PATH", "/tmp/evil.so")
            .env("LLAMA_ARG_THREADS", "1")
            .env("ggml_lower", "1")
            .stdin(std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&us.stdout);
        assert!(us.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let (_stage, found) = tokio::runtime::Runtime::new().unwrap().block_on(look_around());
    assert_eq!(found.input, "");
    assert!(found.environment.contains_key(OURS));
    let of_llama = |name: &&String| {
        let name = name.to_ascii_uppercase();
        name.starts_with("GGML_") || name.starts_with("LLAMA_")
    };
    assert_eq!(found.environment.keys().filter(of_llama).collect::<Vec<_>>(), Vec::<&String>::new());
}
