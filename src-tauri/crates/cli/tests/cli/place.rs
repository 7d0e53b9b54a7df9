//! A data folder of its own for one test, and `reprise-cli` on it.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use reprise_chat::engine::PROGRAM;
use reprise_chat::history::DataDir;
use serde_json::Value;
use tempfile::TempDir;

const CLI: &str = env!("CARGO_BIN_EXE_reprise-cli");

/// Marks the processes of one place in their environment.
pub const MARK: &str = "REPRISE_CLI_TEST";

/// Held by each test that computes: the engine uses every core, and two at once wait for one another's
/// threads for longer than they would for their turn.
static CORES: Mutex<()> = Mutex::new(());

/// A temporary place with a data folder in it.
pub struct Place {
    dir: TempDir,
    _cores: Option<MutexGuard<'static, ()>>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Says so where it is seen: what a test prints in the usual way is not shown when it passes.
pub fn skip(why: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "skipped, because {why}");
}

/// The starter model, where the set-up put it.
pub fn model() -> Option<PathBuf> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models");
    let model = models.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    if model.is_file() {
        return Some(model.canonicalize().unwrap());
    }
    let why = format!("{} is not there; run `make setup`", model.display());
    assert!(std::env::var_os("CI").is_none(), "{why}");
    skip(&why);
    None
}

/// The folder of the engine: the one that is named, or that of the program, as in every installation.
pub fn engine_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let beside = || Path::new(CLI).parent().unwrap().to_owned();
        let dir = std::env::var_os("REPRISE_ENGINE_DIR").map_or_else(beside, PathBuf::from);
        let program = dir.join(PROGRAM);
        assert!(
            program.is_file(),
            "{} is not there: build it first, with `cargo build --workspace`",
            program.display()
        );
        dir
    })
}

impl Place {
    /// For what needs no model.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), _cores: None }
    }

    /// For what computes; `None`, and said so, where the model is missing.
    pub fn with_model() -> Option<Self> {
        model()?;
        let cores = CORES.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self { _cores: Some(cores), ..Self::new() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn data_dir(&self) -> DataDir {
        DataDir::create(self.data()).unwrap()
    }

    /// `reprise-cli` on the data folder of this place.
    pub fn command(&self) -> Command {
        self.command_on(&self.data())
    }

    /// `reprise-cli` on another data folder.
    pub fn command_on(&self, data: &Path) -> Command {
        let mut command = Command::new(CLI);
        command
            .current_dir(self.root())
            .env_remove("REPRISE_LOG")
            // Cargo names its own folders there for tests, and an engine without libraries would find them.
            .env_remove("LD_LIBRARY_PATH")
            .env("REPRISE_DATA_DIR", data)
            .env("REPRISE_ENGINE_DIR", engine_dir())
            // On a machine that others use too, threads that wait by spinning take a hundred times as long.
            .env("OMP_WAIT_POLICY", "passive")
            .env(MARK, self.root())
            .stdin(Stdio::null());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        run(self.command().args(args))
    }

    /// The JSON object of a command that ends well.
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        run(self.command().arg("--json").args(args)).success()
    }

    /// The JSON object of a command that fails with `code`.
    pub fn fails<S: AsRef<OsStr>>(&self, code: &str, args: impl IntoIterator<Item = S>) -> Value {
        run(self.command().arg("--json").args(args)).failure(code)
    }

    /// One turn, at most `tokens` long and the likeliest one unless `extra` says otherwise.
    pub fn chat(&self, prompt: &str, tokens: u32, extra: &[&str]) -> Value {
        run(&mut self.chat_command(&[prompt], tokens, extra)).success()
    }

    pub fn chat_fails(&self, code: &str, prompt: &str, extra: &[&str]) -> Value {
        run(&mut self.chat_command(&[prompt], 8, extra)).failure(code)
    }

    /// `extra` comes last, and wins.
    pub fn chat_command(&self, prompts: &[&str], tokens: u32, extra: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["--json", "chat"]);
        if !extra.contains(&"--model") {
            command.arg("--model").arg(model().unwrap());
        }
        if !extra.contains(&"--temperature") {
            command.args(["--temperature", "0"]);
        }
        command.args(["--max-tokens", &tokens.to_string()]);
        for prompt in prompts {
            command.args(["--prompt", prompt]);
        }
        command.args(extra);
        command
    }

    /// Every message of a conversation, as `history show --json` tells.
    pub fn messages(&self, conversation: &str) -> Vec<Value> {
        self.json(["history", "show", conversation])["messages"].as_array().unwrap().clone()
    }

    /// The number of conversations.
    pub fn count(&self) -> usize {
        self.json(["history", "list"])["conversations"].as_array().unwrap().len()
    }
}

pub fn run(command: &mut Command) -> Ended {
    command.output().unwrap().into()
}

impl From<std::process::Output> for Ended {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// Exactly one JSON object in one line, and nothing else.
    #[track_caller]
    pub fn object(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        assert!(self.stdout.ends_with('\n'), "{self:?}");
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        assert!(value.is_object(), "{self:?}");
        value
    }

    #[track_caller]
    pub fn success(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        let value = self.object();
        assert!(value.get("error").is_none(), "{value}");
        value
    }

    /// Exit code 1 and an error that people can read.
    #[track_caller]
    pub fn failure(&self, code: &str) -> Value {
        let value = self.object();
        assert_eq!(value["error"]["code"], code, "{self:?}");
        assert_eq!(self.code, Some(1), "{self:?}");
        is_clear(&value["error"]);
        value
    }
}

/// An error says what happened and what to do, in whole sentences of one line.
#[track_caller]
pub fn is_clear(error: &Value) {
    assert_eq!(keys(error), "code message remedy");
    for part in ["message", "remedy"] {
        let text = error[part].as_str().unwrap();
        assert!(!text.contains('\n') && !text.contains("Error") && text.len() < 600, "{text}");
        assert!(text.ends_with('.') && !text.ends_with(".."), "{text}");
    }
}

/// The keys of an object in alphabetical order.
#[track_caller]
pub fn keys(value: &Value) -> String {
    let object = value.as_object().unwrap_or_else(|| panic!("not an object: {value}"));
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys.join(" ")
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// One field of each.
pub fn column<'a>(rows: &'a [Value], key: &str) -> Vec<&'a str> {
    rows.iter().map(|row| text(&row[key])).collect()
}
