//! Workers to try states on.

use std::fs;
use std::path::{Path, PathBuf};

use reprise_chat::challenge::{Reference, is_unchanged};
use reprise_engine::message::{
    ChatMessage, GenerateSpec, KvPlace, KvType, LoadSpec, ModelInfo, Offload, Role, Sampling, TokenId,
};
use reprise_engine::process::EngineFolder;
use reprise_engine::state::{Exported, Pieces, RestoreSpec, Restored};
use reprise_engine::{EngineHandle, GenerationEvent, Limits};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use crate::remote_rig::{Remote, write_engine};

const MODEL: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// Whether the long rounds are asked for, whose tables are in `docs/VERIFICATION.md`.
pub fn full() -> bool {
    std::env::var("REPRISE_VERIFICATION").is_ok_and(|value| value == "full")
}

/// splitmix64 (Steele, Lea and Flood 2014): the same round every time.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end.max(1) as u64).unwrap()
    }
}

/// A worker with a model, and what it can be told to do wrong.
pub struct Worker {
    pub engine: EngineHandle,
    pub info: ModelInfo,
    pub mutation: PathBuf,
    _folder: TempDir,
}

/// How a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub n_ctx: u32,
    pub threads: u32,
    pub kv: KvType,
    /// The device, how many layers are on it, and where their cache lies.
    pub offload: Option<(&'static str, u32, KvPlace)>,
}

impl Settings {
    pub fn of(n_ctx: u32, threads: u32) -> Self {
        Self { n_ctx, threads, kv: KvType::F16, offload: None }
    }
}

pub fn target() -> PathBuf {
    // target/debug/deps/verification-…
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

/// Where the models are: another folder where this was built on another machine (`scripts/gpu-check`).
pub fn models_folder() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models");
    std::env::var_os("REPRISE_MODELS").map_or_else(built, PathBuf::from)
}

pub fn needed() -> Option<(PathBuf, PathBuf)> {
    let model = models_folder().join(MODEL);
    let worker = target().join(format!("reprise-engine-mutant{}", std::env::consts::EXE_SUFFIX));
    for (file, remedy) in [(&model, "make setup"), (&worker, "cargo build --workspace")] {
        if !file.is_file() {
            assert!(std::env::var_os("CI").is_none(), "{} is missing: {remedy}", file.display());
            println!("skipped, because {} is not there ({remedy})", file.display());
            return None;
        }
    }
    Some((worker, model.canonicalize().unwrap()))
}

impl Worker {
    pub async fn new(worker: &Path, model: &Path, settings: Settings) -> Self {
        Self::with(worker, model, settings, None).await
    }

    /// A worker that has this device.
    pub async fn with(worker: &Path, model: &Path, settings: Settings, remote: Option<&Remote>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Beside the real engine, whose libraries and modules it needs.
        let mutation = folder.path().join("mutation");
        fs::write(&mutation, "").unwrap();
        let starter = folder.path().join("worker");
        match remote {
            Some(remote) => remote.write_engine(&starter, &mutation),
            None => write_engine(worker.parent().unwrap(), &starter, &mutation, None),
        }
        let engine =
            EngineHandle::start(EngineFolder::with_program(&starter, folder.path()), Limits::default());
        let spec = LoadSpec {
            n_ctx: Some(settings.n_ctx),
            n_threads: Some(settings.threads),
            kv_type: settings.kv,
            offload: settings.offload.map(|(device, layers, kv)| Offload {
                device: device.to_owned(),
                layers,
                kv,
            }),
            ..LoadSpec::new(model)
        };
        let (progress, _unread) = mpsc::channel(1);
        let info = engine.load(spec, progress, watch::channel(false).1).await.unwrap();
        Self { engine, info, mutation, _folder: folder }
    }

    pub fn set(&self, side: &str, fault: &str) {
        fs::write(&self.mutation, format!("{side} {fault}")).unwrap();
    }

    /// Decodes a prompt and one token of an answer.
    pub async fn say(&self, text: &str, known: Vec<TokenId>) {
        let spec = GenerateSpec { known, ..asked(text) };
        let mut generation = self.engine.generate(spec, watch::channel(false).1).await.unwrap();
        loop {
            if let GenerationEvent::Ended(ended) = generation.next().await {
                ended.unwrap();
                return;
            }
        }
    }

    pub async fn export(&self) -> (Exported, Vec<u8>) {
        let exported = self.engine.export().await.unwrap();
        if let Some(twice) = &exported.overwritten {
            is_unchanged(twice).unwrap();
            self.engine.accept().await.unwrap();
        }
        let (sink, mut frames) = mpsc::channel::<Vec<u8>>(4);
        let all = Pieces::whole(exported.table.len);
        let bytes = async {
            let mut bytes = Vec::new();
            while let Some(frame) = frames.recv().await {
                bytes.extend(frame);
            }
            bytes
        };
        let (shipped, bytes) = tokio::join!(self.engine.ship(exported.image, vec![all], sink), bytes);
        shipped.unwrap();
        self.engine.release(exported.image).await.unwrap();
        (exported, bytes)
    }

    pub async fn restore(&self, exported: &Exported, bytes: &[u8]) -> Restored {
        let probes = exported.fingerprints.iter().map(|fingerprint| fingerprint.probe.clone()).collect();
        self.restore_and_ask(exported, bytes, probes).await
    }

    /// Restores, asks, and lets go again.
    pub async fn restore_and_ask(
        &self,
        exported: &Exported,
        bytes: &[u8],
        probes: Vec<Vec<TokenId>>,
    ) -> Restored {
        let (frames, source) = mpsc::channel(4);
        let feed = async {
            for frame in bytes.chunks(reprise_engine::frame::MAX_STATE) {
                frames.send(frame.to_vec()).await.unwrap();
            }
            drop(frames);
        };
        let len = exported.table.len;
        let (received, ()) = tokio::join!(self.engine.receive(len, vec![Pieces::whole(len)], source), feed);
        received.unwrap();
        let spec = RestoreSpec { tokens: exported.tokens.clone(), table: exported.table.clone(), probes };
        let restored = self.engine.restore(spec).await.unwrap();
        self.engine.discard().await.unwrap();
        restored
    }
}

/// One message, answered with one token.
pub fn asked(text: &str) -> GenerateSpec {
    GenerateSpec {
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        max_tokens: Some(1),
        ..GenerateSpec::new(vec![ChatMessage { role: Role::User, content: text.to_owned() }])
    }
}

/// What a snapshot would remember of an export.
pub fn reference(exported: &Exported, saver: &Worker) -> Reference {
    let class = saver.info.state.as_ref().unwrap().class.clone();
    Reference { fingerprints: exported.fingerprints.clone(), class }
}

/// A text of about so many tokens, told apart by its number.
pub fn story(tokens: usize, number: usize) -> String {
    const WORDS: [&str; 24] = [
        "river", "lamp", "quiet", "engine", "letter", "mountain", "seven", "window", "copper", "winter",
        "basket", "teacher", "orange", "harbour", "candle", "market", "silver", "garden", "thunder", "paper",
        "violin", "bridge", "morning", "stone",
    ];
    let mut seed = number as u64 * 7919 + 17;
    let mut word = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        WORDS[usize::try_from(seed >> 40).unwrap() % WORDS.len()]
    };
    let words: Vec<&str> = (0..tokens * 3 / 4).map(|_| word()).collect();
    format!("Remember this list: {}. Which word comes first?", words.join(" "))
}
