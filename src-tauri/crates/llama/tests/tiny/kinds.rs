//! What the models are made of: the metadata and tensors that llama.cpp's `src/models/*.cpp` ask for.
//!
//! Tests judge states by what the models answer, so the answers must rest on all that was read. Untrained
//! weights do not give that by themselves:
//!
//! - Logits are as large as `LOGITS` says behind any context, because the last thing before them is a norm.
//!   Over 49,152 tokens that makes answers of about 3 nats of entropy, rarely below 1 or above 4. With smaller
//!   ones a few dozen tokens do not tell two answers apart, with larger ones a single token is all.
//! - What attention reads outweighs the token it reads for. A flat mean over hundreds of tokens is nearly
//!   nothing and nearly the same for every text, so scores are spread (`SHARP`): then each query
//!   finds its own few tokens, near or far, because turning random vectors by their distance gives others as random.
//! - Recurrent layers forget at a pace for each head, of 40 tokens to 1,200 (`MEMORY`).
//! - Control tokens are answered by nothing: an answer would end at any moment.

use crate::gguf::Gguf;
use crate::tensor::Tensor;

const EMBEDDING: u32 = 64;
const LAYERS: u32 = 4;
const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
/// A `q8_0` cache keeps numbers in blocks of 32, and no head may end within one.
const HEAD: u32 = 32;
const FEED_FORWARD: u32 = 128;
const WINDOW: u32 = 64;
const EXPERTS: u32 = 8;
const EXPERT_FEED_FORWARD: u32 = 16;

/// The latent vector of multi-head latent attention, and the part of a head that tells positions.
const LATENT: u32 = 32;
const QUERY_LATENT: u32 = 48;
const ROPE: u32 = 32;

const SSM_INNER: u32 = 2 * EMBEDDING;
const SSM_STATE: u32 = 32;
const SSM_HEADS: u32 = 8;
const SSM_KERNEL: u32 = 4;

/// Standard deviation of the logits.
const LOGITS: f32 = 5.5;
/// Size of queries and keys. Scores deviate by its square, which lets one token in some 50 bear most of what is read.
const SHARP: f32 = 1.4;
/// How much larger is made what attention has read: a mean over ten tokens is but a third as large as each.
const READ: f32 = 4.0;
/// Tokens after which each recurrent head has forgotten all but 1/e.
const MEMORY: [f32; 8] = [40.0, 65.0, 105.0, 170.0, 280.0, 450.0, 730.0, 1200.0];

/// A model: its file's name without ending, the head of the file, and what lies behind it.
pub struct Kind {
    pub name: &'static str,
    pub gguf: Gguf,
    pub tensors: Vec<Tensor>,
}

/// All of them, with the starter model's vocabulary.
pub fn all(starter: &Gguf) -> Vec<Kind> {
    let draft = |name, architecture| Draft::new(starter, name, architecture, 1.0);
    // This architecture makes embeddings larger itself.
    let gemma = Draft::new(starter, "tiny-window", "gemma3", 1.0 / (EMBEDDING as f32).sqrt());
    vec![
        dense(draft("tiny-dense", "llama")),
        window(gemma),
        recurrent(draft("tiny-recurrent", "mamba2")),
        hybrid(draft("tiny-hybrid", "granitehybrid")),
        moe(draft("tiny-moe", "qwen3moe")),
        mla(draft("tiny-mla", "deepseek2")),
    ]
}

/// Full attention in every layer.
fn dense(mut draft: Draft) -> Kind {
    draft.set_attention(|_| KV_HEADS);
    for layer in 0..LAYERS {
        draft.norm(layer, "attn_norm", EMBEDDING);
        draft.attention(layer, SHARP);
        draft.norm(layer, "ffn_norm", EMBEDDING);
        draft.feed_forward(layer);
    }
    draft.done()
}

/// A window in every other layer, with the norms of Gemma 3 behind each part.
fn window(mut draft: Draft) -> Kind {
    draft.set_attention(|_| KV_HEADS);
    draft.set("attention.sliding_window", WINDOW);
    // Of two layers the second sees everything.
    draft.set("attention.sliding_window_pattern", 2);
    for layer in 0..LAYERS {
        draft.norm(layer, "attn_norm", EMBEDDING);
        draft.attention(layer, 1.0);
        draft.constant(layer, "attn_q_norm.weight", &[HEAD], SHARP);
        draft.constant(layer, "attn_k_norm.weight", &[HEAD], SHARP);
        draft.norm(layer, "post_attention_norm", EMBEDDING);
        draft.norm(layer, "ffn_norm", EMBEDDING);
        draft.feed_forward(layer);
        draft.constant(layer, "post_ffw_norm.weight", &[EMBEDDING], 0.5);
    }
    draft.done()
}

/// No attention at all.
fn recurrent(mut draft: Draft) -> Kind {
    draft.set("attention.head_count", 0);
    draft.set_recurrence();
    for layer in 0..LAYERS {
        draft.norm(layer, "attn_norm", EMBEDDING);
        draft.recurrence(layer);
    }
    draft.done()
}

/// Recurrence and attention in turn.
fn hybrid(mut draft: Draft) -> Kind {
    // No heads of keys and values is how such a file says that a layer is recurrent.
    draft.set_attention(|layer| (layer % 2) * KV_HEADS);
    draft.set_recurrence();
    for layer in 0..LAYERS {
        draft.norm(layer, "attn_norm", EMBEDDING);
        if layer % 2 == 0 {
            draft.recurrence(layer);
        } else {
            draft.attention(layer, SHARP);
        }
        draft.norm(layer, "ffn_norm", EMBEDDING);
        draft.feed_forward(layer);
    }
    draft.done()
}

/// A choice of experts behind full attention.
fn moe(mut draft: Draft) -> Kind {
    draft.set_attention(|_| KV_HEADS);
    draft.set("expert_count", EXPERTS);
    draft.set("expert_used_count", 2);
    draft.set("expert_feed_forward_length", EXPERT_FEED_FORWARD);
    for layer in 0..LAYERS {
        draft.norm(layer, "attn_norm", EMBEDDING);
        draft.attention(layer, 1.0);
        draft.constant(layer, "attn_q_norm.weight", &[HEAD], SHARP);
        draft.constant(layer, "attn_k_norm.weight", &[HEAD], SHARP);
        draft.norm(layer, "ffn_norm", EMBEDDING);
        draft.matrix(layer, "ffn_gate_inp.weight", &[EMBEDDING, EXPERTS], 1.0);
        let (up, down) =
            ([EMBEDDING, EXPERT_FEED_FORWARD, EXPERTS], [EXPERT_FEED_FORWARD, EMBEDDING, EXPERTS]);
        draft.matrix(layer, "ffn_gate_exps.weight", &up, 1.0);
        draft.matrix(layer, "ffn_up_exps.weight", &up, 1.0);
        draft.matrix(layer, "ffn_down_exps.weight", &down, 1.0);
    }
    draft.done()
}

/// Attention over one latent vector a token, which is all that its cache holds: there is no V.
fn mla(mut draft: Draft) -> Kind {
    // To the cache it is one head, of the latent vector and the part that tells positions.
    draft.set_attention(|_| 1);
    let sizes = [
        ("attention.key_length", LATENT + ROPE),
        ("attention.value_length", LATENT),
        ("attention.key_length_mla", HEAD + ROPE),
        ("attention.value_length_mla", HEAD),
        ("attention.q_lora_rank", QUERY_LATENT),
        ("attention.kv_lora_rank", LATENT),
        ("rope.dimension_count", ROPE),
        ("leading_dense_block_count", LAYERS),
        ("expert_feed_forward_length", 0),
        ("expert_shared_count", 0),
    ];
    for (key, size) in sizes {
        draft.set(key, size);
    }
    for layer in 0..LAYERS {
        draft.norm(layer, "attn_norm", EMBEDDING);
        draft.matrix(layer, "attn_q_a.weight", &[EMBEDDING, QUERY_LATENT], 1.0);
        draft.norm(layer, "attn_q_a_norm", QUERY_LATENT);
        draft.matrix(layer, "attn_q_b.weight", &[QUERY_LATENT, HEADS * (HEAD + ROPE)], SHARP);
        draft.matrix(layer, "attn_kv_a_mqa.weight", &[EMBEDDING, LATENT + ROPE], 1.0);
        draft.constant(layer, "attn_kv_a_norm.weight", &[LATENT], 1.0);
        draft.matrix(layer, "attn_k_b.weight", &[HEAD, LATENT, HEADS], 1.0);
        draft.matrix(layer, "attn_v_b.weight", &[LATENT, HEAD, HEADS], 1.0);
        draft.matrix(layer, "attn_output.weight", &[HEADS * HEAD, EMBEDDING], READ);
        draft.norm(layer, "ffn_norm", EMBEDDING);
        draft.feed_forward(layer);
    }
    draft.done()
}

/// A model in the making.
struct Draft {
    kind: Kind,
    architecture: &'static str,
}

impl Draft {
    fn new(starter: &Gguf, name: &'static str, architecture: &'static str, embedding: f32) -> Self {
        let mut gguf = Gguf::with_entries_of(starter, |name| name.starts_with("tokenizer."));
        gguf.set_string("general.architecture", architecture);
        gguf.set_string("general.name", name);
        let kinds = gguf.numbers("tokenizer.ggml.token_type");
        let count = |tokens: &[i32]| u32::try_from(tokens.len()).unwrap();
        // For each run of tokens of one kind how many they are, and their gain: kind 1 is text.
        let runs = kinds.chunk_by(|a, b| a == b);
        let gains: Vec<_> = runs.map(|run| (count(run), if run[0] == 1 { LOGITS } else { 0.0 })).collect();
        let vocabulary = count(&kinds);
        // To llama.cpp the embedding is a matrix too, but each of its rows is used as it is.
        let as_is = embedding * (EMBEDDING as f32).sqrt();
        let tensors = vec![
            Tensor::matrix("token_embd.weight", &[EMBEDDING, vocabulary], as_is).halved(),
            Tensor::banded("output.weight", EMBEDDING, &gains).halved(),
            Tensor::constant("output_norm.weight", &[EMBEDDING], 1.0),
        ];
        let mut draft = Self { kind: Kind { name, gguf, tensors }, architecture };
        let sizes = [
            ("context_length", 2048),
            ("embedding_length", EMBEDDING),
            ("block_count", LAYERS),
            ("feed_forward_length", FEED_FORWARD),
        ];
        for (key, size) in sizes {
            draft.set(key, size);
        }
        let key = format!("{architecture}.attention.layer_norm_rms_epsilon");
        draft.kind.gguf.set_f32(&key, 1e-5);
        draft
    }

    fn done(mut self) -> Kind {
        self.kind.gguf.set_tensors(&self.kind.tensors);
        self.kind
    }

    fn set(&mut self, key: &str, value: u32) {
        self.kind.gguf.set_u32(&format!("{}.{key}", self.architecture), value);
    }

    fn set_attention(&mut self, kv_heads: impl Fn(u32) -> u32) {
        for (key, size) in [
            ("attention.head_count", HEADS),
            ("attention.key_length", HEAD),
            ("attention.value_length", HEAD),
            ("rope.dimension_count", HEAD),
        ] {
            self.set(key, size);
        }
        let kv_heads: Vec<u32> = (0..LAYERS).map(kv_heads).collect();
        let key = format!("{}.attention.head_count_kv", self.architecture);
        self.kind.gguf.set_u32s(&key, &kv_heads);
    }

    fn set_recurrence(&mut self) {
        for (key, size) in [
            ("ssm.conv_kernel", SSM_KERNEL),
            ("ssm.inner_size", SSM_INNER),
            ("ssm.state_size", SSM_STATE),
            ("ssm.time_step_rank", SSM_HEADS),
            ("ssm.group_count", 1),
        ] {
            self.set(key, size);
        }
    }

    fn add(&mut self, tensor: Tensor) {
        self.kind.tensors.push(tensor);
    }

    fn matrix(&mut self, layer: u32, name: &str, shape: &[u32], gain: f32) {
        self.add(Tensor::matrix(format!("blk.{layer}.{name}"), shape, gain));
    }

    fn constant(&mut self, layer: u32, name: &str, shape: &[u32], number: f32) {
        self.add(Tensor::constant(format!("blk.{layer}.{name}"), shape, number));
    }

    fn norm(&mut self, layer: u32, name: &str, size: u32) {
        self.constant(layer, &format!("{name}.weight"), &[size], 1.0);
    }

    fn attention(&mut self, layer: u32, sharp: f32) {
        self.matrix(layer, "attn_q.weight", &[EMBEDDING, HEADS * HEAD], sharp);
        self.matrix(layer, "attn_k.weight", &[EMBEDDING, KV_HEADS * HEAD], sharp);
        self.matrix(layer, "attn_v.weight", &[EMBEDDING, KV_HEADS * HEAD], 1.0);
        self.matrix(layer, "attn_output.weight", &[HEADS * HEAD, EMBEDDING], READ);
    }

    fn feed_forward(&mut self, layer: u32) {
        self.matrix(layer, "ffn_gate.weight", &[EMBEDDING, FEED_FORWARD], 1.0);
        self.matrix(layer, "ffn_up.weight", &[EMBEDDING, FEED_FORWARD], 1.0);
        self.matrix(layer, "ffn_down.weight", &[FEED_FORWARD, EMBEDDING], 1.0);
    }

    /// A layer of Mamba 2.
    fn recurrence(&mut self, layer: u32) {
        let name = |name: &str| format!("blk.{layer}.{name}");
        // The gate; what is remembered, where, and where it is looked for; how long the step is. The middle
        // is small, because the SiLU behind the convolution is straight there: where it bends it leaves a mean,
        // which over hundreds of tokens outweighs what differs between them.
        let inner = [(SSM_INNER, 1.0), (SSM_INNER + 2 * SSM_STATE, 0.5), (SSM_HEADS, 0.5)];
        self.add(Tensor::banded(name("ssm_in.weight"), EMBEDDING, &inner));
        let channels = SSM_INNER + 2 * SSM_STATE;
        self.matrix(layer, "ssm_conv1d.weight", &[SSM_KERNEL, channels], 1.0);
        self.constant(layer, "ssm_conv1d.bias", &[channels], 0.0);
        // A step is softplus(0) = ln 2 long, more or less.
        self.constant(layer, "ssm_dt.bias", &[SSM_HEADS], 0.0);
        let paces = MEMORY.map(|tokens| -1.0 / (tokens * std::f32::consts::LN_2));
        self.add(Tensor::numbers(name("ssm_a"), paces.to_vec()).shaped(&[1, SSM_HEADS]));
        self.constant(layer, "ssm_d", &[1, SSM_HEADS], 0.5);
        self.constant(layer, "ssm_norm.weight", &[SSM_INNER, 1], 1.0);
        self.matrix(layer, "ssm_out.weight", &[SSM_INNER, EMBEDDING], 1.2);
    }
}
