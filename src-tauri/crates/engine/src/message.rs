//! Everything that the app and the worker say to one another.
//!
//! Control messages are JSON in length-prefixed frames ([`crate::frame`]): a worker of another version
//! can still be understood well enough to say so. State bytes travel on a pair of pipes of their own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::qualify::{Qualified, QualifySpec};
use crate::state::{Exported, ImageId, Pieces, PromptTokens, RestoreSpec, Restored, StateTraits};

/// Version of this vocabulary. App and worker must agree exactly.
pub const PROTOCOL_VERSION: u32 = 4;

/// One token of the loaded model's vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub i32);

/// Names one request until its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// A request as it travels from the app to the worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct RequestFrame {
    /// Chosen by the app, never used twice for one worker.
    pub id: RequestId,
    /// What is asked.
    pub request: Request,
}

/// What the app can ask of the worker. `Cancel`, `Ping` and `Shutdown` are answered at once, also in
/// mid-decode. Requests that move state bytes ([`Request::moves_state`]) are served one after the other
/// beside the rest, which is served one after the other too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Answered by `Pong`.
    Ping,
    /// Load a model in place of the one that is loaded. `LoadProgress`*, then `Loaded`.
    Load(LoadSpec),
    /// Free model and context. `Unloaded`.
    Unload,
    /// Answer a conversation. `Prepared`, `Prefill`*, `Piece`*, then `Finished`.
    Generate(GenerateSpec),
    /// Render and tokenise a conversation; compute nothing. `Prompt`.
    Prepare(GenerateSpec),
    /// Take the live context's state into an image, and ask the probes at its end. `Exported`.
    Export,
    /// Put the image that was received in place of the live context, on trial. `Restored`.
    Restore(RestoreSpec),
    /// Use the state on trial from now on. `Accepted`.
    Accept,
    /// Destroy the context and what it holds. `Discarded`.
    Discard,
    /// Find out whether states of the loaded model survive, in contexts of their own: what is live stays.
    /// `Prefill`*, then `Qualified`.
    Qualify(QualifySpec),
    /// Count the tokens of a text. `Counted`.
    Count {
        /// Plain text; markup in it is text.
        text: String,
    },
    /// End the request with this id soon: within one token or one prefill batch.
    Cancel {
        /// The request to end.
        target: RequestId,
    },
    /// Hash chunks of an image. `Hashed`.
    Hash {
        /// Which image.
        image: ImageId,
        /// The chunks.
        chunks: Vec<Pieces>,
    },
    /// Send chunks of an image on the state path, one behind the other; then `StateSent`.
    Ship {
        /// Which image.
        image: ImageId,
        /// The chunks.
        chunks: Vec<Pieces>,
    },
    /// Receive chunks on the state path, one behind the other, into an image of this size; an empty
    /// frame gives up. Then `StateReceived`. The image waits for `Restore`.
    Receive {
        /// Bytes of the image.
        bytes: u64,
        /// Where the chunks belong. Together they cover the image.
        chunks: Vec<Pieces>,
    },
    /// Forget an image. `Released`.
    Release {
        /// Which image.
        image: ImageId,
    },
    /// Send this many bytes on the state path (to measure it); then `StateSent`.
    SendState {
        /// Payload bytes in all.
        bytes: u64,
    },
    /// Receive this many bytes on the state path (to measure it); then `StateReceived`.
    ReceiveState {
        /// Payload bytes in all.
        bytes: u64,
    },
    /// Free everything and exit with code 0.
    Shutdown,
}

impl Request {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Load(_) => "load",
            Self::Unload => "unload",
            Self::Generate(_) => "generate",
            Self::Prepare(_) => "prepare",
            Self::Export => "export",
            Self::Restore(_) => "restore",
            Self::Accept => "accept",
            Self::Discard => "discard",
            Self::Qualify(_) => "qualify",
            Self::Count { .. } => "count",
            Self::Cancel { .. } => "cancel",
            Self::Hash { .. } => "hash",
            Self::Ship { .. } => "ship",
            Self::Receive { .. } => "receive",
            Self::Release { .. } => "release",
            Self::SendState { .. } => "send_state",
            Self::ReceiveState { .. } => "receive_state",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether it is about state bytes, and served beside the others, also in mid-decode.
    #[must_use]
    pub fn moves_state(&self) -> bool {
        matches!(
            self,
            Self::Hash { .. }
                | Self::Ship { .. }
                | Self::Receive { .. }
                | Self::Release { .. }
                | Self::SendState { .. }
                | Self::ReceiveState { .. }
        )
    }
}

/// An event as it travels from the worker to the app.
#[derive(Debug, Serialize, Deserialize)]
pub struct EventFrame {
    /// The request it belongs to; `None` for `Hello`.
    pub id: Option<RequestId>,
    /// What happened.
    pub event: Event,
}

/// What the worker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Event {
    /// The first frame of every worker.
    Hello(Hello),
    /// Answer to `Ping`.
    Pong,
    /// The share of the model that is loaded, 0 to 1.
    LoadProgress {
        /// 0 to 1.
        fraction: f32,
    },
    /// The model is ready.
    Loaded(ModelInfo),
    /// Nothing is loaded any more.
    Unloaded,
    /// The prompt is rendered and tokenised; decoding begins.
    Prepared(Prepared),
    /// This many of the prompt's new tokens are decoded.
    Prefill {
        /// Decoded so far, of `Prepared::to_decode`.
        done: u32,
    },
    /// Text of the answer, and the tokens sampled since the last piece.
    Piece {
        /// Complete characters only; may be empty while a character or a stop string is incomplete.
        text: String,
        /// In the order sampled.
        tokens: Vec<TokenId>,
    },
    /// The answer is complete.
    Finished(Finished),
    /// Answer to `Prepare`.
    Prompt(PromptTokens),
    /// Answer to `Export`.
    Exported(Box<Exported>),
    /// Answer to `Restore`.
    Restored(Restored),
    /// Answer to `Accept`.
    Accepted,
    /// Answer to `Discard`.
    Discarded,
    /// Answer to `Qualify`.
    Qualified(Qualified),
    /// Answer to `Count`.
    Counted {
        /// Tokens.
        tokens: u32,
    },
    /// Answer to `Hash`.
    Hashed {
        /// BLAKE3 (hex) of each chunk.
        hashes: Vec<String>,
    },
    /// Answer to `Release`.
    Released,
    /// The request failed; the worker lives on.
    Failed(Fault),
    /// All bytes of `Ship` or `SendState` are in the pipe.
    StateSent,
    /// All bytes of `Receive` or `ReceiveState` arrived.
    StateReceived,
}

impl Event {
    /// Whether this event ends its request.
    #[must_use]
    pub fn is_last(&self) -> bool {
        !matches!(
            self,
            Self::Hello(_)
                | Self::LoadProgress { .. }
                | Self::Prepared(_)
                | Self::Prefill { .. }
                | Self::Piece { .. }
        )
    }
}

/// Who the worker is and what it found. Only the version must be there to be understood: a worker of
/// another version says everything else in its own way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// See [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Process id.
    #[serde(default)]
    pub pid: u32,
    /// The llama.cpp build, e.g. `llama.cpp 0.6.0, ggml 0.26.0, llama-cpp-sys-2 0.1.161`.
    #[serde(default)]
    pub build: String,
    /// Backend modules that loaded.
    #[serde(default)]
    pub modules: Vec<Module>,
    /// Devices that they see.
    #[serde(default)]
    pub devices: Vec<Device>,
}

/// A ggml backend that is registered in the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// ggml's name of the backend: `CPU`, `CUDA`.
    pub name: String,
    /// File name of the module, where it could be told.
    pub file: Option<String>,
}

/// What kind of processor a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The host's processor.
    Cpu,
    /// A host-memory accelerator (BLAS, AMX).
    Accelerator,
    /// A device with memory of its own.
    Gpu,
    /// A GPU that shares the host's memory.
    IntegratedGpu,
    /// Something newer than this list.
    #[serde(other)]
    Unknown,
}

impl DeviceKind {
    /// The word that JSON and people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Accelerator => "accelerator",
            Self::Gpu => "gpu",
            Self::IntegratedGpu => "integrated_gpu",
            Self::Unknown => "unknown",
        }
    }
}

/// A device that a backend module sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// ggml's name: `CPU`, `CUDA0`.
    pub name: String,
    /// What its maker calls it.
    pub description: String,
    /// Name of the module that serves it.
    pub backend: String,
    /// Kind of processor.
    pub kind: DeviceKind,
    /// Bytes.
    pub memory_total: u64,
    /// Bytes.
    pub memory_free: u64,
}

/// Element type of the KV cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvType {
    /// 16-bit floats.
    #[default]
    F16,
    /// 8-bit blocks with one scale per 32 elements: half the size, other numerics.
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl KvType {
    /// ggml's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }
}

/// What to load and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LoadSpec {
    /// The GGUF file (first shard); relative to the app's current directory.
    pub model: PathBuf,
    /// Context size in tokens; `None`: the model's own, at most [`DEFAULT_MAX_CONTEXT`].
    pub n_ctx: Option<u32>,
    /// Threads for prefill and decode; `None`: one a physical core.
    pub n_threads: Option<u32>,
    /// Element type of K and V.
    pub kv_type: KvType,
    /// Whether attention is computed in the fused way.
    #[serde(default)]
    pub flash_attention: FlashAttention,
    /// Base frequency of the rotary position embedding in place of the model's own.
    #[serde(default)]
    pub rope_freq_base: Option<Finite>,
    /// What is computed on a device with memory of its own; `None`: nothing.
    #[serde(default)]
    pub offload: Option<Offload>,
}

impl LoadSpec {
    /// This model as it is best loaded where nobody asks for anything else: on the processor.
    #[must_use]
    pub fn new(model: impl Into<PathBuf>) -> Self {
        Self {
            model: model.into(),
            n_ctx: None,
            n_threads: None,
            kv_type: KvType::default(),
            flash_attention: FlashAttention::default(),
            rope_freq_base: None,
            offload: None,
        }
    }
}

/// What is computed on a device with memory of its own, and kept there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offload {
    /// ggml's name of the device ([`Device::name`]).
    pub device: String,
    /// Layers, from the last one on; more than the model has, for all of them and the output.
    pub layers: u32,
    /// Where the KV cache of these layers lies.
    pub kv: KvPlace,
}

/// Where the KV cache of offloaded layers lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvPlace {
    /// In the device's memory.
    #[default]
    Device,
    /// In the host's memory.
    Host,
}

impl KvPlace {
    /// The word that JSON and people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Host => "host",
        }
    }
}

/// Whether attention is computed in the fused way (flash attention), which also decides how V lies in
/// the KV cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlashAttention {
    /// As llama.cpp finds best for the model and device.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl FlashAttention {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// A finite positive number that can be compared and hashed: two settings are the same where every bit
/// is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "f32", into = "f32")]
pub struct Finite(f32);

impl Finite {
    /// The number.
    #[must_use]
    pub fn get(self) -> f32 {
        self.0
    }
}

impl PartialEq for Finite {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Finite {}

impl std::hash::Hash for Finite {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl TryFrom<f32> for Finite {
    type Error = &'static str;

    fn try_from(number: f32) -> Result<Self, Self::Error> {
        if number.is_finite() && number > 0.0 { Ok(Self(number)) } else { Err("not a positive number") }
    }
}

impl From<Finite> for f32 {
    fn from(number: Finite) -> f32 {
        number.0
    }
}

/// The context size that is used when nobody asks for another, in tokens. An 8B model's f16 KV cache
/// takes about 1 GiB at this size.
pub const DEFAULT_MAX_CONTEXT: u32 = 8192;

/// How the model remembers, which decides what can be reused of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheKind {
    /// Every position is kept; the tail can be removed.
    Full,
    /// Some layers keep only the last positions; the tail cannot be removed safely.
    SlidingWindow,
    /// One state for all that was read; the tail cannot be removed.
    Recurrent,
    /// Attention and recurrent layers; the tail cannot be removed.
    Hybrid,
}

impl CacheKind {
    /// Whether the last tokens can be taken back without reading the others again.
    #[must_use]
    pub fn can_trim(self) -> bool {
        matches!(self, Self::Full)
    }
}

/// Where the chat template comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateOrigin {
    /// The GGUF file carries it.
    Model,
    /// The file carries none: `ChatML`.
    ChatMl,
}

/// What is known of a loaded model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `general.name` of the file, or the file's stem.
    pub name: String,
    /// `general.architecture`.
    pub architecture: String,
    /// Weights.
    pub n_params: u64,
    /// Size of the weights in bytes.
    pub size: u64,
    /// Layers.
    pub n_layer: u32,
    /// Tokens in the vocabulary.
    pub n_vocab: u32,
    /// Context that the model was trained for, in tokens.
    pub n_ctx_train: u32,
    /// Context that it is loaded with, in tokens.
    pub n_ctx: u32,
    /// Threads in use.
    pub n_threads: u32,
    /// How it remembers.
    pub cache: CacheKind,
    /// Where its chat template comes from.
    pub template: TemplateOrigin,
    /// BLAKE3 (hex) of vocabulary and chat template: token ids are worth something only where it is
    /// the same.
    pub token_identity: String,
    /// What its states are like; `None` where they cannot be kept yet, as `why_no_state` says.
    pub state: Option<StateTraits>,
    /// Why its states cannot be kept, in a few words.
    pub why_no_state: Option<String>,
    /// Time to load, in milliseconds.
    pub load_ms: f64,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The word that chat templates know.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of the conversation, as the template gets it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// Private text stays out of logs, also by accident.
impl std::fmt::Debug for ChatMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChatMessage({}, {} bytes)", self.role.as_str(), self.content.len())
    }
}

/// How the next token is chosen. Defaults are llama.cpp's (`common_params_sampling`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 or less: always the likeliest token.
    pub temperature: f32,
    /// Keep the k likeliest; 0 or less: all.
    pub top_k: i32,
    /// Keep the likeliest whose probabilities add up to this; 1: all.
    pub top_p: f32,
    /// Keep those at least this share as likely as the likeliest; 0: all.
    pub min_p: f32,
    /// Divide the logits of recent tokens by this; 1: off.
    pub repeat_penalty: f32,
    /// How many recent tokens that counts for.
    pub repeat_last_n: u32,
    /// Seed of the choice.
    pub seed: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            seed: 0,
        }
    }
}

/// An answer to be generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateSpec {
    /// The conversation from its first message to the one to be answered.
    pub messages: Vec<ChatMessage>,
    /// Tokens that this conversation was made of when it was last computed, from the beginning; used
    /// as far as they spell the rendered prompt.
    pub known: Vec<TokenId>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens to generate at most; `None`: as many as the context holds.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// When the conversation began, in seconds since 1970 (UTC): the date that templates show. The
    /// clock would change the prompt at midnight, and nothing computed before would fit any more.
    pub began: i64,
    /// Other tokens that this conversation was made of, to be used where they reach further.
    #[serde(default)]
    pub also_known: Vec<TokenId>,
    /// Take a state when [`PromptTokens::keeps`] of the prompt's tokens are read; it is kept until `Export` asks
    /// for it. Where all of them are live already there is nothing to take.
    #[serde(default)]
    pub checkpoint: bool,
    /// Answer nothing: read the conversation as far as it begins every prompt with whatever the person says next,
    /// so that the answer to that decodes only what is new. A message of the person at the end, which is not
    /// answered yet, is not part of it. Ends without a `Piece`; [`Fault::PromptEmpty`] where nothing was said, not
    /// even by a system prompt.
    ///
    /// What is live behind it stays: where the tail can be removed always, elsewhere where this conversation goes
    /// on so.
    #[serde(default)]
    pub reading: bool,
}

impl GenerateSpec {
    /// An answer to these messages where nothing was computed before and nobody asks for anything else.
    #[must_use]
    pub fn new(messages: Vec<ChatMessage>) -> Self {
        Self {
            messages,
            known: Vec::new(),
            sampling: Sampling::default(),
            max_tokens: None,
            stop: Vec::new(),
            began: 0,
            also_known: Vec::new(),
            checkpoint: false,
            reading: false,
        }
    }
}

/// The prompt, tokenised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// Tokens of the whole prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens whose KV cells are live and stay.
    pub reused: u32,
    /// Of these, tokens to be decoded now.
    pub to_decode: u32,
    /// How many tokens of [`GenerateSpec::known`] begin the prompt.
    pub known_kept: u32,
    /// The prompt's tokens behind those.
    pub new_tokens: Vec<TokenId>,
    /// Time to render and tokenise, in milliseconds.
    pub prepare_ms: f64,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model ended its turn, or a stop string was met.
    End,
    /// The wanted number of tokens, or the context's end, was reached.
    Length,
    /// Somebody asked for it.
    Cancelled,
}

/// How an answer ended and what it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Why.
    pub stop: StopReason,
    /// Prompt tokens decoded.
    pub prefill_tokens: u32,
    /// Time for these, in milliseconds.
    pub prefill_ms: f64,
    /// From the request to the first sampled token, in milliseconds; `None` if there was none.
    pub ttft_ms: Option<f64>,
    /// Of that, what taking a state within the prompt cost, in milliseconds; `None` where none was taken.
    #[serde(default)]
    pub checkpoint_ms: Option<f64>,
    /// Tokens sampled.
    pub decode_tokens: u32,
    /// From the first sampled token to the last, in milliseconds.
    pub decode_ms: f64,
}
