//! A loaded model at work: one live context, its tokens, and answers.

use std::num::NonZeroU16;
use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::vocab::LlamaVocab;
use reprise_engine::Fault;
use reprise_engine::message::{
    Event, Finished, GenerateSpec, ModelInfo, Prepared, StopReason, TemplateOrigin, TokenId,
};

use crate::log::Captured;
use crate::model::{Loaded, PREFILL_BATCH};
use crate::outbox::Reply;
use crate::sampler;
use crate::splice::{Known, Vocabulary, common_prefix, splice};
use crate::template::{ChatMessage, ChatTemplate, LocalTime, RenderInput, SandboxedRenderer};
use crate::text_stream::TextStream;

/// The model's vocabulary as splicing sees it.
struct Tokenizer<'m>(LlamaVocab<'m>);

impl Vocabulary for Tokenizer<'_> {
    fn piece(&self, token: TokenId) -> Vec<u8> {
        self.0
            .token_to_piece(LlamaToken(token.0), true, None::<NonZeroU16>)
    }

    fn is_control(&self, token: TokenId) -> bool {
        self.0.is_control(LlamaToken(token.0))
    }

    fn tokenize(&self, text: &[u8]) -> Vec<TokenId> {
        if text.is_empty() {
            return Vec::new();
        }
        self.0
            .tokenize(text, false, true)
            .into_iter()
            .map(|LlamaToken(id)| TokenId(id))
            .collect()
    }

    fn bos(&self) -> Option<TokenId> {
        let bos = self.0.bos();
        (self.0.should_add_bos() && bos.0 >= 0).then_some(TokenId(bos.0))
    }
}

impl Tokenizer<'_> {
    /// Whether ids from outside name tokens of this vocabulary: others would be read out of bounds.
    fn knows(&self, tokens: &[TokenId]) -> bool {
        let n = self.0.n_tokens();
        tokens.iter().all(|token| (0..n).contains(&token.0))
    }

    fn spelling(&self, token: LlamaToken) -> String {
        if token.0 < 0 {
            return String::new();
        }
        String::from_utf8_lossy(&self.piece(TokenId(token.0))).into_owned()
    }
}

/// One model, at most one live context.
pub(crate) struct Session<'m> {
    loaded: &'m Loaded,
    llama: &'m LlamaBackend,
    captured: &'m Captured,
    tokenizer: Tokenizer<'m>,
    renderer: &'m SandboxedRenderer,
    /// Made when it is first needed; destroyed after anything that may have left it damaged.
    context: Option<LlamaContext<'m>>,
    /// The tokens whose cells the context holds, by position.
    live: Vec<TokenId>,
}

impl<'m> Session<'m> {
    pub(crate) fn new(
        loaded: &'m Loaded,
        llama: &'m LlamaBackend,
        captured: &'m Captured,
        renderer: &'m SandboxedRenderer,
    ) -> Result<Self, Fault> {
        // Made now, so that a context that does not fit is found at loading, not at the first message.
        let context = Some(loaded.new_context(llama, captured)?);
        let tokenizer = Tokenizer(loaded.model.vocab());
        Ok(Self {
            loaded,
            llama,
            captured,
            tokenizer,
            renderer,
            context,
            live: Vec::new(),
        })
    }

    pub(crate) fn info(&self) -> &ModelInfo {
        &self.loaded.info
    }

    /// Answers one request.
    pub(crate) fn generate(&mut self, spec: &GenerateSpec, reply: &Reply) -> Result<Finished, Fault> {
        let asked = Instant::now();
        let prompt = self.prompt(spec)?;
        let reused = self.rewind_to(&prompt)?;
        let known_kept = common_prefix(&spec.known, &prompt);
        reply.send(Event::Prepared(Prepared {
            prompt_tokens: count(prompt.len()),
            reused: count(reused),
            to_decode: count(prompt.len() - reused),
            known_kept: count(known_kept),
            new_tokens: prompt[known_kept..].to_vec(),
            prepare_ms: ms_since(asked),
        }));
        let began = Instant::now();
        let read = self.prefill(&prompt[reused..], reply)?;
        let prefill_ms = ms_since(began);
        let mut finished = Finished {
            stop: StopReason::Cancelled,
            prefill_tokens: count(read),
            prefill_ms,
            ttft_ms: None,
            decode_tokens: 0,
            decode_ms: 0.0,
        };
        if read == prompt.len() - reused && !reply.cancelled() {
            self.decode(spec, reply, asked, &mut finished)?;
        }
        Ok(finished)
    }

    /// Renders and tokenises the conversation.
    fn prompt(&self, spec: &GenerateSpec) -> Result<Vec<TokenId>, Fault> {
        if spec
            .messages
            .iter()
            .all(|message| message.content.trim().is_empty())
        {
            return Err(Fault::PromptEmpty);
        }
        let rendered = self.render(spec)?;
        // Bytes per token have no upper bound worth relying on, but a token spells at most a few
        // hundred bytes: far beyond that there is no need to tokenise to know the answer.
        let known: &[TokenId] = if self.tokenizer.knows(&spec.known) {
            &spec.known
        } else {
            &[]
        };
        let candidates = [
            Known {
                tokens: known,
                ends_message: true,
            },
            Known {
                tokens: &self.live,
                ends_message: false,
            },
        ];
        let prompt = splice(&self.tokenizer, &rendered, &candidates);
        let n_ctx = self.loaded.info.n_ctx;
        if prompt.is_empty() {
            return Err(Fault::PromptEmpty);
        }
        // One cell must be left for the answer to begin.
        if count(prompt.len()) >= n_ctx {
            return Err(Fault::PromptTooLong {
                tokens: count(prompt.len()),
                n_ctx,
            });
        }
        Ok(prompt)
    }

    fn render(&self, spec: &GenerateSpec) -> Result<String, Fault> {
        let messages: Vec<ChatMessage> = spec
            .messages
            .iter()
            .map(|message| ChatMessage {
                role: message.role.as_str().to_owned(),
                content: message.content.clone(),
            })
            .collect();
        let vocabulary = &self.tokenizer.0;
        let input = RenderInput {
            messages: &messages,
            add_generation_prompt: true,
            bos_token: &self.tokenizer.spelling(vocabulary.bos()),
            eos_token: &self.tokenizer.spelling(vocabulary.eos()),
            now: LocalTime {
                unix_seconds: spec.began,
                utc_offset_seconds: 0,
            },
            extra: &serde_json::Map::new(),
        };
        let rendered = match self.loaded.info.template {
            TemplateOrigin::ChatMl => ChatTemplate::chatml().render(&input),
            TemplateOrigin::Model => self.renderer.render(&self.loaded.template, &input),
        };
        rendered.map_err(|error| {
            let detail = error.to_string();
            Fault::Template {
                detail: detail.trim_end_matches('.').to_owned(),
            }
        })
    }

    /// Leaves in the context only what `prompt` begins with, and says how many tokens that is. At least
    /// one token of the prompt is left to decode: its logits are needed.
    fn rewind_to(&mut self, prompt: &[TokenId]) -> Result<usize, Fault> {
        let keep = common_prefix(&self.live, prompt).min(prompt.len() - 1);
        if keep == self.live.len() && self.context.is_some() {
            return Ok(keep);
        }
        if keep > 0
            && self.loaded.info.cache.can_trim()
            && let Some(context) = &mut self.context
        {
            let removed = context.kv_cache_seq_rm(0, Some(count(keep)), None);
            let last = context.kv_cache_seq_pos_max(0);
            if removed.is_ok() && usize::try_from(last).is_ok_and(|last| last + 1 == keep) {
                self.live.truncate(keep);
                return Ok(keep);
            }
        }
        // Nothing to keep, or a cache whose tail cannot be removed: start with an empty one.
        self.live.clear();
        match &mut self.context {
            Some(context) => context.clear_kv_cache(),
            None => self.context = Some(self.loaded.new_context(self.llama, self.captured)?),
        }
        Ok(0)
    }

    /// Decodes prompt tokens batch by batch and says how many: fewer where it was cancelled.
    fn prefill(&mut self, tokens: &[TokenId], reply: &Reply) -> Result<usize, Fault> {
        let mut done = 0;
        for batch in tokens.chunks(PREFILL_BATCH as usize) {
            if reply.cancelled() {
                break;
            }
            self.decode_batch(batch)?;
            done += batch.len();
            reply.send(Event::Prefill { done: count(done) });
        }
        Ok(done)
    }

    /// Decodes tokens behind the live ones; logits are kept for the last.
    fn decode_batch(&mut self, tokens: &[TokenId]) -> Result<(), Fault> {
        let failed = |detail: String| Fault::DecodeFailed { detail };
        let Some(context) = &mut self.context else {
            return Err(Fault::NotLoaded);
        };
        let mut batch = LlamaBatch::new(tokens.len(), 1);
        for (index, token) in tokens.iter().enumerate() {
            let position = i32::try_from(self.live.len() + index).map_err(|e| failed(e.to_string()))?;
            let last = index + 1 == tokens.len();
            batch
                .add(LlamaToken(token.0), position, &[0], last)
                .map_err(|e| failed(e.to_string()))?;
        }
        if let Err(error) = context.decode(&mut batch) {
            // Cells of a failed decode can poison later output.
            self.context = None;
            self.live.clear();
            return Err(failed(error.to_string()));
        }
        self.live.extend_from_slice(tokens);
        Ok(())
    }

    /// Samples until the answer ends. The context holds the prompt, with logits for its last token.
    fn decode(
        &mut self,
        spec: &GenerateSpec,
        reply: &Reply,
        asked: Instant,
        finished: &mut Finished,
    ) -> Result<(), Fault> {
        let so_far: Vec<LlamaToken> = self.live.iter().map(|token| LlamaToken(token.0)).collect();
        let mut sampler = sampler::build(&spec.sampling, self.tokenizer.0.n_tokens(), &so_far);
        let mut stream = TextStream::new(&spec.stop);
        let mut first: Option<Instant> = None;
        let limit = spec.max_tokens.unwrap_or(u32::MAX);
        finished.stop = loop {
            if reply.cancelled() {
                break StopReason::Cancelled;
            }
            if finished.decode_tokens >= limit || self.live.len() >= self.loaded.info.n_ctx as usize {
                break StopReason::Length;
            }
            let Some(context) = &self.context else {
                return Err(Fault::NotLoaded);
            };
            let token = sampler.sample(context, -1);
            let now = Instant::now();
            let first = *first.get_or_insert(now);
            finished.decode_tokens += 1;
            finished
                .ttft_ms
                .get_or_insert((first - asked).as_secs_f64() * 1000.0);
            finished.decode_ms = (now - first).as_secs_f64() * 1000.0;
            let tokens = vec![TokenId(token.0)];
            if self.tokenizer.0.is_eog(token) {
                reply.send(Event::Piece {
                    text: String::new(),
                    tokens,
                });
                break StopReason::End;
            }
            let emit = stream.push(&self.tokenizer.0.token_to_piece(token, false, None::<NonZeroU16>));
            reply.send(Event::Piece {
                text: emit.text,
                tokens,
            });
            if emit.stopped.is_some() {
                break StopReason::End;
            }
            self.decode_batch(&[TokenId(token.0)])?;
        };
        let tail = stream.finish();
        if !tail.is_empty() {
            reply.send(Event::Piece {
                text: tail,
                tokens: Vec::new(),
            });
        }
        Ok(())
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}
