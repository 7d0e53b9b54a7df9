//! Loading a GGUF file, and saying in words why it failed.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_sys_2 as sys;
use reprise_engine::Fault;
use reprise_engine::message::{
    CacheKind, DEFAULT_MAX_CONTEXT, Event, Finite, FlashAttention, KvPlace, KvType, LoadSpec, ModelInfo,
    Offload, TemplateOrigin,
};

use crate::ggml;
use crate::log::Captured;
use crate::outbox::Reply;
use crate::template::CHATML;

/// Tokens decoded in one call while a prompt is read. A stop takes effect between two calls, so this
/// bounds how long it takes; smaller batches read more slowly.
pub(crate) const PREFILL_BATCH: u32 = 256;

/// llama.cpp rounds a context up to a multiple of this; a smaller one is of no use.
const CONTEXT_STEP: u32 = 256;

/// The largest multiple of that which is still a position: more than any memory holds.
const MAX_CONTEXT: u32 = i32::MAX as u32 + 1 - CONTEXT_STEP;

/// Share of the whole progress between two reports.
const PROGRESS_STEP: f32 = 0.01;

/// A loaded model with what its context needs.
pub(crate) struct Loaded {
    pub(crate) model: LlamaModel,
    pub(crate) info: ModelInfo,
    /// Jinja source.
    pub(crate) template: String,
    spec: LoadSpec,
}

/// Loads the model, reporting progress and heeding a cancel.
pub(crate) fn load(
    llama: &LlamaBackend,
    spec: LoadSpec,
    reply: &Reply,
    captured: &Captured,
) -> Result<Loaded, Fault> {
    let started = Instant::now();
    look_at(&spec.model)?;
    let devices = match &spec.offload {
        Some(offload) => vec![
            ggml::device_index(&offload.device)
                .ok_or_else(|| Fault::NoSuchDevice { device: offload.device.clone() })?,
        ],
        None => Vec::new(),
    };
    let progress = reply.clone();
    let mut reported = -1.0_f32;
    let params = LlamaModelParams::default()
        // Without offload no devices and no layers: zero layers alone would still hand large products to a GPU.
        .with_devices(&devices)
        .map_err(|error| failed(&spec, error.to_string()))?
        .with_n_gpu_layers(spec.offload.as_ref().map_or(0, |offload| offload.layers))
        .with_progress_callback(move |fraction| {
            if fraction - reported >= PROGRESS_STEP || fraction >= 1.0 {
                reported = fraction;
                progress.send(Event::LoadProgress { fraction });
            }
            !progress.cancelled()
        });
    captured.clear();
    let model = LlamaModel::load_from_file(llama, &spec.model, &params).map_err(|error| {
        if reply.cancelled() {
            return Fault::Cancelled;
        }
        explain(&spec, &captured.errors()).unwrap_or_else(|| failed(&spec, error.to_string()))
    })?;
    if !ggml::traits(&model).has_vocabulary {
        return Err(failed(&spec, "it has no vocabulary".to_owned()));
    }
    let mut info = describe(&model, &spec);
    if !writes(&model, &info.architecture) {
        return Err(Fault::ModelUnsupported { architecture: info.architecture });
    }
    let template = template_of(&model);
    info.template = if template.is_some() { TemplateOrigin::Model } else { TemplateOrigin::ChatMl };
    let template = template.unwrap_or_else(|| CHATML.to_owned());
    info.token_identity = token_identity(&model, &template);
    info.load_ms = started.elapsed().as_secs_f64() * 1000.0;
    Ok(Loaded { model, info, template, spec })
}

impl Loaded {
    /// What of it computes on a device; `None` on the processor alone.
    pub(crate) fn offload(&self) -> Option<&Offload> {
        self.spec.offload.as_ref()
    }

    /// A context for one conversation, empty.
    pub(crate) fn new_context(
        &self,
        llama: &LlamaBackend,
        captured: &Captured,
    ) -> Result<LlamaContext<'_>, Fault> {
        self.new_context_of(self.info.n_ctx, llama, captured)
    }

    /// As [`Self::new_context`], of so many tokens.
    pub(crate) fn new_context_of(
        &self,
        n_ctx: u32,
        llama: &LlamaBackend,
        captured: &Captured,
    ) -> Result<LlamaContext<'_>, Fault> {
        let threads = i32::try_from(self.info.n_threads).unwrap_or(1);
        let kv = match self.spec.kv_type {
            KvType::F16 => KvCacheType::F16,
            KvType::Q8_0 => KvCacheType::Q8_0,
        };
        let flash_attention = match self.spec.flash_attention {
            FlashAttention::Auto => sys::LLAMA_FLASH_ATTN_TYPE_AUTO,
            FlashAttention::On => sys::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            FlashAttention::Off => sys::LLAMA_FLASH_ATTN_TYPE_DISABLED,
        };
        let params = LlamaContextParams::default()
            .with_flash_attention_policy(flash_attention)
            // 0 is llama.cpp's word for the model's own.
            .with_rope_freq_base(self.spec.rope_freq_base.map_or(0.0, Finite::get))
            .with_n_ctx(NonZeroU32::new(n_ctx))
            .with_n_batch(PREFILL_BATCH)
            .with_n_ubatch(PREFILL_BATCH)
            .with_n_seq_max(1)
            // Windowed layers keep their window, not everything: states cannot be trimmed either way.
            .with_swa_full(false)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_type_k(kv)
            .with_type_v(kv)
            .with_offload_kqv(self.offload().is_some_and(|offload| offload.kv == KvPlace::Device))
            .with_op_offload(self.offload().is_some());
        captured.clear();
        self.model.new_context(llama, params).map_err(|error| {
            let detail = captured.errors().pop().unwrap_or_else(|| error.to_string());
            Fault::ContextFailed { n_ctx, detail: tidy(&detail) }
        })
    }
}

/// What can be told without llama.cpp.
fn look_at(path: &Path) -> Result<(), Fault> {
    let owned = || path.to_owned();
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Fault::ModelMissing { path: owned() }
        }
        _ => Fault::ModelUnreadable { path: owned(), cause: error.to_string() },
    })?;
    if metadata.is_dir() {
        return Err(Fault::ModelIsDirectory { path: owned() });
    }
    if !metadata.is_file() {
        // A pipe or a device could be read for ever.
        return Err(Fault::ModelNotGguf { path: owned() });
    }
    let unreadable =
        |error: std::io::Error| Fault::ModelUnreadable { path: owned(), cause: error.to_string() };
    let mut magic = Vec::new();
    File::open(path).map_err(unreadable)?.take(4).read_to_end(&mut magic).map_err(unreadable)?;
    if magic != b"GGUF" {
        return Err(Fault::ModelNotGguf { path: owned() });
    }
    if path.to_str().is_none() {
        let cause = "its path is not valid Unicode".to_owned();
        return Err(Fault::ModelUnreadable { path: owned(), cause });
    }
    Ok(())
}

/// llama.cpp's API says "null"; its log says why.
fn explain(spec: &LoadSpec, errors: &[String]) -> Option<Fault> {
    let all = errors.join("\n");
    if let Some((_, after)) = all.split_once("unknown model architecture: '") {
        let architecture = after.split('\'').next().unwrap_or_default().to_owned();
        return Some(Fault::ModelUnsupported { architecture });
    }
    let first = errors.first().map(|line| tidy(line))?;
    // Words of gguf.cpp, llama-model-loader.cpp and of the operating system for a file that ends early
    // or whose numbers contradict one another.
    let damaged = [
        "corrupted or incomplete",
        "failed to read",
        "invalid",
        "not within",
        "failed to load model from",
        "failed to load GGUF",
    ];
    if damaged.iter().any(|words| all.contains(words)) {
        return Some(Fault::ModelDamaged { path: spec.model.clone(), detail: first });
    }
    Some(failed(spec, first))
}

fn failed(spec: &LoadSpec, detail: String) -> Fault {
    Fault::ModelLoadFailed { path: spec.model.clone(), detail }
}

/// Drops the function name that llama.cpp puts first and the stop that our sentences add.
fn tidy(line: &str) -> String {
    let line = line.split('\n').next().unwrap_or_default().trim();
    let words = match line.split_once(": ") {
        Some((function, rest)) if !function.contains(' ') => rest,
        _ => line,
    };
    words.trim_end_matches('.').to_owned()
}

fn describe(model: &LlamaModel, spec: &LoadSpec) -> ModelInfo {
    let stem = spec.model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let architecture = model.meta_val_str("general.architecture").unwrap_or_default();
    let n_ctx_train = model.n_ctx_train();
    let n_ctx = match spec.n_ctx {
        Some(wanted) => wanted,
        None if n_ctx_train == 0 => DEFAULT_MAX_CONTEXT,
        None => n_ctx_train.min(DEFAULT_MAX_CONTEXT),
    };
    let cache = if model.is_recurrent() {
        CacheKind::Recurrent
    } else if model.is_hybrid() {
        CacheKind::Hybrid
    } else if ggml::traits(model).window > 0 {
        CacheKind::SlidingWindow
    } else {
        CacheKind::Full
    };
    ModelInfo {
        name: model.meta_val_str("general.name").ok().filter(|name| !name.is_empty()).unwrap_or(stem),
        architecture,
        n_params: model.n_params(),
        size: model.size(),
        n_layer: model.n_layer(),
        n_vocab: u32::try_from(model.n_vocab()).unwrap_or(0),
        n_ctx_train,
        n_ctx: n_ctx.clamp(CONTEXT_STEP, MAX_CONTEXT).next_multiple_of(CONTEXT_STEP),
        n_threads: threads(spec.n_threads),
        cache,
        template: TemplateOrigin::ChatMl,
        token_identity: String::new(),
        state: None,
        why_no_state: None,
        load_ms: 0.0,
    }
}

/// Whether it can answer at all: some models only encode, or do not write from left to right.
fn writes(model: &LlamaModel, architecture: &str) -> bool {
    let causal = model.meta_val_str(&format!("{architecture}.attention.causal"));
    ggml::traits(model).writes && causal.as_deref() != Ok("false")
}

/// As many threads as were asked for, within what the machine has: OpenMP ends the process where the
/// system refuses to make so many. The app passes the physical cores.
fn threads(asked: Option<u32>) -> u32 {
    let available =
        std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok()).unwrap_or(1);
    asked.filter(|n| *n > 0).unwrap_or(available).min(available)
}

fn template_of(model: &LlamaModel) -> Option<String> {
    model.meta_val_str("tokenizer.chat_template").ok().filter(|source| !source.trim().is_empty())
}

/// Token ids mean the same where vocabulary and template are the same, whatever the file is called.
fn token_identity(model: &LlamaModel, template: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    let vocabulary = model.vocab();
    for id in 0..vocabulary.n_tokens() {
        let text = vocabulary.text(llama_cpp_2::token::LlamaToken(id));
        let text = text.map(std::ffi::CStr::to_bytes).unwrap_or_default();
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    for key in ["tokenizer.ggml.model", "tokenizer.ggml.pre"] {
        hasher.update(model.meta_val_str(key).unwrap_or_default().as_bytes());
        hasher.update(b"\0");
    }
    hasher.update(template.as_bytes());
    hasher.finalize().to_hex().to_string()
}
