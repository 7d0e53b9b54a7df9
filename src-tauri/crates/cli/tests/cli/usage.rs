//! Bad usage, help, closed pipes: what comes before any work.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use crate::place::{Place, engine_dir, is_clear, keys, run};

/// Bad usage is exit code 2 and says what is wrong; with --json as one object.
#[track_caller]
fn bad_usage(args: &[&OsStr], part: &str) {
    let place = Place::new();
    let ended = place.run([OsStr::new("--json")].iter().chain(args));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let value = ended.object();
    assert_eq!(value["error"]["code"], "bad_usage");
    is_clear(&value["error"]);
    let message = value["error"]["message"].as_str().unwrap();
    assert!(message.contains(part), "{message}");
    assert_eq!(ended.stderr, "");

    let ended = place.run(args);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.stdout, "");
    assert!(!ended.stderr.is_empty());
    assert!(!place.data().exists(), "bad usage makes nothing");
}

fn words<'a>(args: &[&'a str]) -> Vec<&'a OsStr> {
    args.iter().map(|arg| OsStr::new(*arg)).collect()
}

#[test]
fn bad_usage_ends_with_2_and_says_what_is_wrong() {
    for (args, part) in [
        (&["bogus"][..], "'bogus'"),
        (&["history"], "subcommand"),
        (&["history", "show"], "<ID>"),
        (&["chat"], "--model <GGUF> --prompt <TEXT>"),
        (&["chat", "--model", "m"], "--prompt <TEXT>"),
        (&["chat", "--model", "m", "--prompt", "p", "--max-tokens", "0"], "'0'"),
        (&["chat", "--model", "m", "--prompt", "p", "--max-tokens", "-1"], "'-1'"),
        (&["chat", "--model", "m", "--prompt", "p", "--temperature", "NaN"], "NaN"),
        (&["chat", "--model", "m", "--prompt", "p", "--top-p", "1.5"], "0 to 1"),
        (&["chat", "--model", "m", "--prompt", "p", "--kv-type", "q3"], "q8_0"),
        (&["chat", "--model", "m", "--prompt", "p", "--parent", "x"], "--conversation"),
        (&["chat", "--model", "m", "--prompt", "p", "--prompt-file", "f"], "--prompt-file"),
        (&["chat", "--model", "m", "--prompt", "p", "--conversation", "c", "--system", "s"], "--system"),
        (&["--quiet", "-v", "history", "list"], "--quiet"),
        (&["history", "export", "x", "--format", "html"], "'html'"),
        (&["history", "import"], "<FILE>"),
        (&["bench", "decode"], "--model <GGUF>"),
    ] {
        bad_usage(&words(args), part);
    }
    let latin1 = OsString::from_vec(b"caf\xe9".to_vec());
    bad_usage(&[&words(&["chat", "--model", "m", "--prompt"])[..], &[&latin1]].concat(), "UTF-8");
    bad_usage(&[], "subcommand");
}

#[test]
fn help_and_version_are_no_error() {
    let place = Place::new();
    for command in ["chat", "doctor", "history", "bench"] {
        let ended = place.run([command, "--help"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains("Usage: reprise-cli"), "{}", ended.stdout);
        assert!(ended.stdout.contains("--json"), "{}", ended.stdout);
        assert_eq!(keys(&place.json([command, "--help"])), "help");
    }
    let version = place.run(["--version"]);
    assert_eq!(version.stdout.trim(), concat!("reprise-cli ", env!("CARGO_PKG_VERSION")));
    assert_eq!(place.json(["--version"])["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_closed_pipe_is_no_reason_to_complain() {
    let place = Place::new();
    for args in [&["--help"][..], &["history", "list"], &["doctor"], &["--json", "history", "show", "x"]] {
        let mut command = place.command();
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert!(ended.status.code().is_some_and(|code| code < 2), "{args:?}: {:?}", ended.status);
    }
}

#[test]
fn a_reader_that_leaves_early_costs_no_answer() {
    let Some(place) = Place::with_model() else { return };
    let mut command = place.chat_command(&["Count from one to nine."], 24, &[]);
    // As people see it: the answer itself is streamed to standard output.
    let args: Vec<OsString> =
        command.get_args().filter(|arg| *arg != "--json").map(OsStr::to_owned).collect();
    command = place.command();
    let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::with_capacity(1, child.stdout.take().unwrap());
    let first = stdout.fill_buf().unwrap()[0];
    drop(stdout);
    assert!(child.wait().unwrap().success());
    let list = place.json(["history", "list"]);
    let messages = place.messages(list["conversations"][0]["id"].as_str().unwrap());
    assert_eq!(messages[1]["state"], "complete");
    assert_eq!(messages[1]["text"].as_str().unwrap().as_bytes()[0], first);
}

#[test]
fn streamed_text_leaves_standard_output_to_the_object_and_quiet_is_quiet() {
    let Some(place) = Place::with_model() else { return };
    let ended = run(&mut place.chat_command(&["Say hello."], 8, &[]));
    let answer = ended.success()["text"].as_str().unwrap().to_owned();
    assert!(!answer.is_empty());
    assert_eq!(ended.stderr.trim_end(), answer.trim_end());

    let quiet = run(&mut place.chat_command(&["Say hello."], 8, &["--quiet"]));
    assert_eq!(quiet.success()["text"], answer.as_str());
    assert_eq!(quiet.stderr, "");

    // Steps never share a line with the answer.
    let verbose = run(&mut place.chat_command(&["Say hello.", "Again."], 8, &["-v"]));
    assert_eq!(verbose.success()["turns"].as_array().unwrap().len(), 2);
    assert_eq!(verbose.stderr.lines().filter(|line| line.starts_with("kept ")).count(), 2);
    assert_eq!(verbose.stderr.lines().filter(|line| line.starts_with("finished ")).count(), 2);
}

#[test]
fn doctor_tells_the_machine_and_the_decision() {
    let Some(place) = Place::with_model() else { return };
    let model = crate::place::model().unwrap();
    let said = place.json([OsStr::new("doctor"), OsStr::new("--model"), model.as_os_str()]);
    assert_eq!(keys(&said), "backends decision engine hardware model qualification");
    let hardware = &said["hardware"];
    assert_eq!(keys(hardware), "cpu disk gpus memory nvml");
    assert_eq!(keys(&hardware["cpu"]), "brand features logical_cores physical_cores");
    assert_eq!(keys(&hardware["memory"]), "available total");
    assert_eq!(keys(&hardware["disk"]), "free");
    let nvml = "available cause cuda_version detail driver_version missing reason remedy";
    assert_eq!(keys(&hardware["nvml"]), nvml);
    assert_eq!(keys(&said["backends"][0]), "devices module name");
    let device = &said["backends"][0]["devices"][0];
    assert_eq!(keys(device), "description memory_free memory_total name type");
    assert_eq!(keys(&said["decision"]), "backend device gpu_layers kv n_ctx trace");
    assert_eq!(keys(&said["decision"]["trace"][0]), "measured ok remedy step");
    let found = &said["qualification"];
    for key in ["challenge_kl", "control_kl", "max_logit_difference", "ms", "steps_compared"] {
        assert!(found[key].is_number(), "{key}: {found}");
    }
    assert_eq!(found["survives_restart"], true, "{found}");
    assert_eq!((found["tried"].as_array().unwrap().len(), &found["why"]), (1, &serde_json::Value::Null));
    assert_eq!(said["decision"]["backend"], "cpu");
    assert_eq!(said["decision"]["kv"], "host");
    assert_eq!(found["verdict"], "identical");
    assert_eq!(said["model"]["architecture"], "llama");
    assert!(hardware["memory"]["total"].as_u64().unwrap() > 1 << 20);

    let text = place.run(["doctor"]).stdout;
    for word in ["Processor", "Memory", "Engine", "Module", "Runs on"] {
        assert!(text.lines().any(|line| line.starts_with(word)), "{text}");
    }
}

#[test]
fn benches_report_cases_and_ratios() {
    let Some(place) = Place::with_model() else { return };
    let model = crate::place::model().unwrap();
    let args = ["bench", "decode", "--tokens", "16", "--runs", "1", "--model"].map(OsStr::new);
    let decode = place.json(args.iter().copied().chain([model.as_os_str()]));
    let ipc = place.json(["bench", "ipc", "--runs", "1"]);
    for (said, name) in [(&decode, "decode"), (&ipc, "ipc")] {
        assert_eq!(keys(said), "bench cases machine ratios");
        assert_eq!(said["bench"], name);
        for case in said["cases"].as_array().unwrap() {
            assert_eq!(keys(case), "max median min name runs unit");
            let [min, median, max] = ["min", "median", "max"].map(|key| case[key].as_f64().unwrap());
            assert!(0.0 < min && min <= median && median <= max, "{case}");
        }
    }
    assert_eq!(keys(&decode["ratios"]), "reprise_over_bare");
    let names = crate::place::column(ipc["cases"].as_array().unwrap(), "name");
    assert!(names.contains(&"control_round_trip") && names.contains(&"worker_idle_resident"), "{names:?}");
    assert!(!place.data().exists(), "measured in a folder of its own");
    let missing = place.fails("model_missing", ["bench", "decode", "--model", "/nowhere.gguf"]);
    assert!(missing["error"]["message"].as_str().unwrap().contains("/nowhere.gguf"));
    assert!(engine_dir().is_dir());
}
