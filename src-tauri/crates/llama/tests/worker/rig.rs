//! Starting workers, asking them, and what every test needs of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reprise_engine::message::{
    ChatMessage, Finished, GenerateSpec, KvType, LoadSpec, ModelInfo, Prepared, Role, Sampling, TokenId,
};
use reprise_engine::process::EngineFolder;
use reprise_engine::{EngineError, EngineHandle, Fault, GenerationEvent, Limits};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

/// The longest that anything here may take to happen before a test says that it never does.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
pub const GEMMA: &str = "gemma-3-270m.Q4_K_M.gguf";

/// Where the set-up puts models.
pub fn model(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path: PathBuf = [root, Path::new("../../../models"), Path::new(name)].iter().collect();
    if path.is_file() {
        return Some(path.canonicalize().unwrap());
    }
    assert!(std::env::var_os("CI").is_none(), "{name} is missing: `make setup` fetches it");
    eprintln!("skipped, because {} is not there (`make setup` fetches it)", path.display());
    None
}

pub fn engine_dir() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_reprise-engine")).parent().unwrap()
}

/// A supervised worker with a log folder of its own.
pub struct Rig {
    pub engine: EngineHandle,
    pub logs: TempDir,
}

impl Rig {
    pub fn start() -> Self {
        Self::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Self {
        let logs = tempfile::tempdir().unwrap();
        let engine = EngineHandle::start(EngineFolder::new(engine_dir(), logs.path()), limits);
        Self { engine, logs }
    }

    /// A worker with this model loaded, in a context of 1,024 tokens.
    pub async fn with(model: &Path) -> Self {
        let rig = Self::start();
        rig.load(model).await;
        rig
    }

    pub async fn load(&self, model: &Path) -> ModelInfo {
        self.try_load(spec(model)).await.unwrap()
    }

    pub async fn try_load(&self, spec: LoadSpec) -> Result<ModelInfo, EngineError> {
        let (progress, _unread) = mpsc::channel(1);
        self.engine.load(spec, progress, never()).await
    }

    pub async fn ask(&self, spec: GenerateSpec) -> Answer {
        self.try_ask(spec).await.unwrap()
    }

    pub async fn try_ask(&self, spec: GenerateSpec) -> Result<Answer, EngineError> {
        let known = spec.known.clone();
        let mut generation = self.engine.generate(spec, never()).await?;
        let mut answer = Answer::default();
        loop {
            if let Some(ended) = answer.take(&known, generation.next().await) {
                return ended.map(|finished| Answer { finished: Some(finished), ..answer });
            }
        }
    }

    pub async fn pid(&self) -> u32 {
        self.engine.hello().await.unwrap().pid
    }

    /// Everything in the log folder, by file.
    pub fn logged(&self) -> Vec<(PathBuf, String)> {
        fs::read_dir(self.logs.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let bytes = fs::read(&path).unwrap();
                (path, String::from_utf8_lossy(&bytes).into_owned())
            })
            .collect()
    }
}

/// A cancel that never comes.
pub fn never() -> watch::Receiver<bool> {
    watch::channel(false).1
}

pub fn spec(model: &Path) -> LoadSpec {
    LoadSpec { n_ctx: Some(1024), n_threads: Some(1), kv_type: KvType::F16, ..LoadSpec::new(model) }
}

/// What came of a request.
#[derive(Debug, Default)]
pub struct Answer {
    pub prepared: Option<Prepared>,
    /// The prompt.
    pub prompt: Vec<TokenId>,
    pub text: String,
    /// Sampled.
    pub tokens: Vec<TokenId>,
    pub pieces: Vec<String>,
    pub finished: Option<Finished>,
}

impl Answer {
    /// Takes one event in; gives back the end.
    pub fn take(
        &mut self,
        known: &[TokenId],
        event: GenerationEvent,
    ) -> Option<Result<Finished, EngineError>> {
        match event {
            GenerationEvent::Prepared(prepared) => {
                self.prompt = known[..prepared.known_kept as usize].to_vec();
                self.prompt.extend(&prepared.new_tokens);
                assert_eq!(self.prompt.len(), prepared.prompt_tokens as usize);
                assert_eq!(prepared.reused + prepared.to_decode, prepared.prompt_tokens);
                self.prepared = Some(prepared);
            }
            GenerationEvent::Prefill { .. } => {}
            GenerationEvent::Piece { text, tokens } => {
                self.text += &text;
                self.tokens.extend(tokens);
                self.pieces.push(text);
            }
            GenerationEvent::Ended(ended) => return Some(ended),
        }
        None
    }

    pub fn prepared(&self) -> &Prepared {
        self.prepared.as_ref().unwrap()
    }

    pub fn finished(&self) -> &Finished {
        self.finished.as_ref().unwrap()
    }

    /// All tokens of the conversation so far: what the next turn knows.
    pub fn all_tokens(&self) -> Vec<TokenId> {
        [&self.prompt[..], &self.tokens].concat()
    }
}

pub fn say(role: Role, content: &str) -> ChatMessage {
    ChatMessage { role, content: content.to_owned() }
}

pub fn user(content: &str) -> Vec<ChatMessage> {
    vec![say(Role::User, content)]
}

pub fn greedy() -> Sampling {
    Sampling { temperature: 0.0, ..Sampling::default() }
}

/// A greedy answer of at most this many tokens.
pub fn ask(messages: Vec<ChatMessage>, max_tokens: u32) -> GenerateSpec {
    GenerateSpec {
        sampling: greedy(),
        max_tokens: Some(max_tokens),
        began: 1_720_000_000,
        ..GenerateSpec::new(messages)
    }
}

/// The same with these tokens known.
pub fn ask_knowing(messages: Vec<ChatMessage>, known: &[TokenId], max_tokens: u32) -> GenerateSpec {
    GenerateSpec { known: known.to_vec(), ..ask(messages, max_tokens) }
}

pub fn ids(tokens: &[TokenId]) -> Vec<i32> {
    tokens.iter().map(|token| token.0).collect()
}

#[track_caller]
pub fn fault(result: Result<impl std::fmt::Debug, EngineError>) -> Fault {
    match result {
        Err(EngineError::Fault(fault)) => fault,
        other => panic!("not a fault: {other:?}"),
    }
}

/// A text of about this many tokens.
pub fn long_text(words: usize) -> String {
    const WORDS: [&str; 8] = ["river", "lamp", "seven", "walks", "green", "under", "paper", "north"];
    let words: Vec<&str> = (0..words).map(|i| WORDS[(i * 5 + i / 7) % WORDS.len()]).collect();
    words.join(" ")
}

/// Whether a process computes, sleeps or is stopped: anything but dead.
pub fn alive(pid: u32) -> bool {
    // After the command in parentheses comes the state; Z is dead and not yet fetched by its parent.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits until a process is gone.
pub fn wait_until_gone(pid: u32) {
    let started = Instant::now();
    while alive(pid) {
        assert!(started.elapsed() < PATIENCE, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(2));
    }
}
