//! A loaded model at work: one live context, its tokens, and answers.

mod checkpoint;
mod qualify;
mod reading;
mod states;

use std::cell::OnceCell;
use std::num::NonZeroU16;
use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llama_cpp_2::vocab::LlamaVocab;
use reprise_engine::Fault;
use reprise_engine::message::{
    ChatMessage as Message, Event, Finished, GenerateSpec, ModelInfo, Prepared, Role, StopReason,
    TemplateOrigin, TokenId,
};
use reprise_engine::state::PromptTokens;

use crate::control_text::ControlText;
use crate::decode::decode_at;
use crate::desk::Shelf;
use crate::log::Captured;
use crate::long_text::{self, Special, SpecialTexts};
use crate::model::{Loaded, PREFILL_BATCH};
use crate::outbox::Reply;
use crate::sampler;
use crate::splice::{Known, Vocabulary, common_prefix, splice};
use crate::state::StateAccess;
use crate::template::{CHATML_END, ChatMessage, ChatTemplate, LocalTime, RenderInput, SandboxedRenderer};
use crate::text_stream::TextStream;

/// The model's vocabulary as splicing sees it.
struct Tokenizer<'m> {
    vocabulary: LlamaVocab<'m>,
    /// For long texts; collected when the first one comes.
    specials: OnceCell<SpecialTexts>,
}

impl Vocabulary for Tokenizer<'_> {
    fn piece(&self, token: TokenId) -> Vec<u8> {
        self.vocabulary.token_to_piece(LlamaToken(token.0), true, None::<NonZeroU16>)
    }

    fn is_control(&self, token: TokenId) -> bool {
        self.vocabulary.is_control(LlamaToken(token.0))
    }

    fn ends_answer(&self, token: TokenId) -> bool {
        self.vocabulary.is_eog(LlamaToken(token.0))
    }

    fn tokenize(&self, text: &[u8]) -> Vec<TokenId> {
        let whole = [text];
        let parts;
        let parts = if text.len() > long_text::STEP {
            parts = self.specials.get_or_init(|| self.special_texts()).parts(text);
            &parts[..]
        } else if text.is_empty() {
            &[]
        } else {
            &whole[..]
        };
        parts
            .iter()
            .flat_map(|part| self.vocabulary.tokenize(part, false, true))
            .map(|LlamaToken(id)| TokenId(id))
            .collect()
    }

    fn bos(&self) -> Option<TokenId> {
        let bos = self.vocabulary.bos();
        (self.vocabulary.should_add_bos() && bos.0 >= 0).then_some(TokenId(bos.0))
    }
}

impl<'m> Tokenizer<'m> {
    fn new(vocabulary: LlamaVocab<'m>) -> Self {
        Self { vocabulary, specials: OnceCell::new() }
    }

    /// What llama.cpp looks for in a text before it tokenises the rest.
    fn special_texts(&self) -> SpecialTexts {
        use LlamaTokenAttr::{Control, RStrip, Unknown, UserDefined};
        SpecialTexts::new(self.vocabulary.tokens().filter_map(|token| {
            let attributes = *self.vocabulary.attr(token);
            attributes.intersects(Control | UserDefined | Unknown).then(|| Special {
                text: self.piece(TokenId(token.0)),
                strips_right: attributes.contains(RStrip),
            })
        }))
    }

    /// What must not be taken for markup in people's text.
    fn control_text(&self) -> ControlText {
        let control = self.vocabulary.tokens().filter(|token| self.vocabulary.is_control(*token));
        ControlText::new(control.map(|token| self.spelling(token)))
    }

    /// Whether ids from outside name tokens of this vocabulary: others would be read out of bounds.
    fn knows(&self, tokens: &[TokenId]) -> bool {
        let n = self.vocabulary.n_tokens();
        tokens.iter().all(|token| (0..n).contains(&token.0))
    }

    /// A probe's tokens: the last one of its text, where a vocabulary spells it in several.
    fn probe(&self, text: &str) -> Vec<TokenId> {
        let tokens = self.vocabulary.tokenize(text.as_bytes(), false, false);
        tokens.last().map(|token| TokenId(token.0)).into_iter().collect()
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
    control: ControlText,
    renderer: &'m SandboxedRenderer,
    access: &'m dyn StateAccess,
    shelf: &'m Shelf,
    /// Devices and modules, in words: part of what decides whether two computations give equal bits.
    machine: String,
    info: ModelInfo,
    /// Made when it is first needed; destroyed after anything that may have left it damaged.
    context: Option<LlamaContext<'m>>,
    /// The tokens whose cells the context holds, by position.
    live: Vec<TokenId>,
    /// The tokens of a restored state that the app has not accepted yet; nothing is live then.
    trial: Option<Vec<TokenId>>,
    /// A state within the prompt of the last answer, until an export asks for it.
    taken: Option<checkpoint::Taken>,
    /// The prompt of the last request to prepare one: the answer to the same request uses it.
    prepared: Option<(GenerateSpec, Prompt)>,
}

/// What is to be read for a request.
struct Prompt {
    tokens: Vec<TokenId>,
    /// See [`PromptTokens::keeps`].
    keeps: u32,
    /// `None`: it is to be answered. Otherwise what may be live behind it and stay.
    behind: Option<Vec<TokenId>>,
}

/// What a session works with, all of which outlives it.
#[derive(Clone, Copy)]
pub(crate) struct Desktop<'m> {
    pub(crate) llama: &'m LlamaBackend,
    pub(crate) captured: &'m Captured,
    pub(crate) renderer: &'m SandboxedRenderer,
    pub(crate) access: &'m dyn StateAccess,
    pub(crate) shelf: &'m Shelf,
    pub(crate) machine: &'m str,
}

impl<'m> Session<'m> {
    pub(crate) fn new(loaded: &'m Loaded, desktop: Desktop<'m>) -> Result<Self, Fault> {
        let began = Instant::now();
        let Desktop { llama, captured, renderer, access, shelf, machine } = desktop;
        // Made now, so that a context that does not fit is found at loading, not at the first message.
        let context = Some(loaded.new_context(llama, captured)?);
        let tokenizer = Tokenizer::new(loaded.model.vocab());
        let control = tokenizer.control_text();
        let mut session = Self {
            loaded,
            llama,
            captured,
            tokenizer,
            control,
            renderer,
            access,
            shelf,
            machine: machine.to_owned(),
            info: loaded.info.clone(),
            context,
            live: Vec::new(),
            trial: None,
            taken: None,
            prepared: None,
        };
        session.look_at_states();
        session.info.load_ms += ms_since(began);
        Ok(session)
    }

    pub(crate) fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Tokenises a conversation and says how much of it is live.
    pub(crate) fn prepare(&mut self, spec: GenerateSpec) -> Result<PromptTokens, Fault> {
        self.end_trial();
        let prompt = self.prompt(&spec)?;
        let told = PromptTokens {
            tokens: prompt.tokens.clone(),
            live: count(self.stays(&prompt)),
            live_total: count(self.live.len()),
            keeps: prompt.keeps,
        };
        self.prepared = Some((spec, prompt));
        Ok(told)
    }

    /// Tokens of a text.
    pub(crate) fn count_tokens(&self, text: &str) -> u32 {
        count(self.tokenizer.tokenize(self.control.disarm(text).as_bytes()).len())
    }

    /// Answers one request.
    pub(crate) fn generate(&mut self, spec: &GenerateSpec, reply: &Reply) -> Result<Finished, Fault> {
        let asked = Instant::now();
        self.end_trial();
        let prepared = self.prepared.take().and_then(|(mut prepared, prompt)| {
            // Whether a state is to be taken is known only once the prompt is.
            prepared.checkpoint = spec.checkpoint;
            (prepared == *spec).then_some(prompt)
        });
        let prompt = match prepared {
            Some(prompt) => prompt,
            None => self.prompt(spec)?,
        };
        let reused = self.rewind_to(&prompt)?;
        let Prompt { tokens: prompt, keeps, .. } = prompt;
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
        let read = match prompt.len() - reused {
            // What was taken within the prompt of the last answer stays, as all that is live does.
            0 => 0,
            _ => self.read_prompt(&prompt, keeps, spec.checkpoint, reply)?,
        };
        let prefill_ms = ms_since(began);
        let mut finished = Finished {
            stop: StopReason::Cancelled,
            prefill_tokens: count(read),
            prefill_ms,
            ttft_ms: None,
            checkpoint_ms: self.taken_ms().filter(|_| !spec.reading),
            decode_tokens: 0,
            decode_ms: 0.0,
        };
        let all = read == prompt.len() - reused;
        if spec.reading && all {
            finished.stop = StopReason::End;
        } else if all && !reply.cancelled() {
            self.decode(spec, reply, asked, &mut finished)?;
        }
        Ok(finished)
    }

    fn prompt(&self, spec: &GenerateSpec) -> Result<Prompt, Fault> {
        let prompt = if spec.reading {
            self.common_to_all_next(spec)?
        } else {
            // The last message is the one to be answered.
            let asked = spec.messages.last();
            if asked.is_none_or(|message| message.content.trim().is_empty()) {
                return Err(Fault::PromptEmpty);
            }
            Prompt { tokens: self.tokens_of(spec, &spec.messages)?, keeps: 0, behind: None }
        };
        let (n, n_ctx) = (count(prompt.tokens.len()), self.info.n_ctx);
        if n == 0 {
            return Err(Fault::PromptEmpty);
        }
        // One cell must be left for the answer to begin.
        if n >= n_ctx {
            return Err(Fault::PromptTooLong { tokens: n, n_ctx });
        }
        Ok(Prompt { keeps: self.keeps(spec, &prompt.tokens), ..prompt })
    }

    /// Renders and tokenises these messages as ones of the conversation.
    fn tokens_of(&self, spec: &GenerateSpec, messages: &[Message]) -> Result<Vec<TokenId>, Fault> {
        let rendered = self.render(messages, spec.began)?;
        let known = |tokens| if self.tokenizer.knows(tokens) { tokens } else { &[][..] };
        let candidates = [
            Known { tokens: known(&spec.known), ends_message: true },
            Known { tokens: &self.live, ends_message: false },
            Known { tokens: known(&spec.also_known), ends_message: false },
        ];
        Ok(splice(&self.tokenizer, &rendered, &candidates))
    }

    fn render(&self, messages: &[Message], began: i64) -> Result<String, Fault> {
        let messages: Vec<ChatMessage> = messages
            .iter()
            .map(|message| ChatMessage {
                role: message.role.as_str().to_owned(),
                content: match message.role {
                    // Its own words, and templates look for markup in them.
                    Role::Assistant => message.content.clone(),
                    Role::System | Role::User => self.control.disarm(&message.content).into_owned(),
                },
            })
            .collect();
        let vocabulary = &self.tokenizer.vocabulary;
        let input = RenderInput {
            messages: &messages,
            add_generation_prompt: true,
            bos_token: &self.tokenizer.spelling(vocabulary.bos()),
            eos_token: &self.tokenizer.spelling(vocabulary.eos()),
            now: LocalTime { unix_seconds: began, utc_offset_seconds: 0 },
            extra: &serde_json::Map::new(),
        };
        let rendered = match self.info.template {
            TemplateOrigin::ChatMl => ChatTemplate::chatml().render(&input),
            TemplateOrigin::Model => self.renderer.render(&self.loaded.template, &input),
        };
        rendered.map_err(|error| {
            let detail = error.to_string();
            // The fault's own sentence begins with these words.
            let detail = match detail.strip_prefix("The model's chat template ") {
                Some(predicate) => format!("it {predicate}"),
                None => detail,
            };
            Fault::Template { detail: detail.trim_end_matches('.').to_owned() }
        })
    }

    /// How many tokens of a prompt are live and can stay. Where the tail cannot be removed, all of what is live must
    /// fit.
    fn stays(&self, prompt: &Prompt) -> usize {
        let live = common_prefix(&self.live, &prompt.tokens);
        let fits = if live < prompt.tokens.len() {
            live == self.live.len()
        } else {
            // The last token is decoded for its logits where there is an answer to begin.
            prompt.behind.as_ref().is_some_and(|behind| behind.starts_with(&self.live[live..]))
        };
        if self.info.cache.can_trim() || fits { live } else { 0 }
    }

    /// Leaves in the context only what `prompt` begins with, and says how many tokens that is. At least one token
    /// of it is left to decode, whose logits are needed; save where it is only read: if all of it is live, nothing
    /// is decoded, and nothing that is live behind it has to go.
    fn rewind_to(&mut self, prompt: &Prompt) -> Result<usize, Fault> {
        let stays = self.stays(prompt);
        if prompt.behind.is_some() && stays == prompt.tokens.len() {
            return Ok(stays);
        }
        let keep = stays.min(prompt.tokens.len() - 1);
        if keep == self.live.len() && self.context.is_some() {
            return Ok(keep);
        }
        if keep > 0
            && self.info.cache.can_trim()
            && let Some(context) = &mut self.context
        {
            let removed = context.kv_cache_seq_rm(0, Some(count(keep)), None);
            let (first, last) = (context.kv_cache_seq_pos_min(0), context.kv_cache_seq_pos_max(0));
            let whole = first == 0 && usize::try_from(last).is_ok_and(|last| last + 1 == keep);
            if removed.is_ok() && whole {
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

    /// Decodes prompt tokens batch by batch, behind `before` others that were read for this prompt, and says how
    /// many: fewer where it was cancelled.
    fn prefill(&mut self, tokens: &[TokenId], before: usize, reply: &Reply) -> Result<usize, Fault> {
        let mut done = 0;
        for batch in tokens.chunks(PREFILL_BATCH as usize) {
            if reply.cancelled() {
                break;
            }
            self.decode_batch(batch)?;
            done += batch.len();
            reply.send(Event::Prefill { done: count(before + done) });
        }
        Ok(done)
    }

    /// Decodes tokens behind the live ones; logits are kept for the last.
    fn decode_batch(&mut self, tokens: &[TokenId]) -> Result<(), Fault> {
        let Some(context) = &mut self.context else {
            return Err(Fault::NotLoaded);
        };
        if let Err(fault) = decode_at(context, self.live.len(), tokens) {
            // Cells of a failed decode can poison later output.
            self.context = None;
            self.live.clear();
            return Err(fault);
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
        let info = &self.info;
        let mut sampler =
            sampler::build(&spec.sampling, self.tokenizer.vocabulary.n_tokens(), info.n_ctx, &so_far);
        let mut stops: Vec<&str> = spec.stop.iter().map(String::as_str).collect();
        if info.template == TemplateOrigin::ChatMl {
            // To a model that was not trained on ChatML this is no token that ends an answer, but text.
            stops.push(CHATML_END);
        }
        let mut stream = TextStream::new(&stops);
        let mut first: Option<Instant> = None;
        let limit = spec.max_tokens.unwrap_or(u32::MAX);
        finished.stop = loop {
            if reply.cancelled() {
                break StopReason::Cancelled;
            }
            if finished.decode_tokens >= limit || self.live.len() >= self.info.n_ctx as usize {
                break StopReason::Length;
            }
            let Some(context) = &self.context else {
                return Err(Fault::NotLoaded);
            };
            let token = sampler.sample(context, -1);
            let now = Instant::now();
            let first = *first.get_or_insert(now);
            finished.decode_tokens += 1;
            finished.ttft_ms.get_or_insert((first - asked).as_secs_f64() * 1000.0);
            finished.decode_ms = (now - first).as_secs_f64() * 1000.0;
            let tokens = vec![TokenId(token.0)];
            if self.tokenizer.vocabulary.is_eog(token) {
                reply.send(Event::Piece { text: String::new(), tokens });
                break StopReason::End;
            }
            let emit =
                stream.push(&self.tokenizer.vocabulary.token_to_piece(token, false, None::<NonZeroU16>));
            reply.send(Event::Piece { text: emit.text, tokens });
            if emit.stopped.is_some() {
                break StopReason::End;
            }
            self.decode_batch(&[TokenId(token.0)])?;
        };
        let tail = stream.finish();
        if !tail.is_empty() {
            reply.send(Event::Piece { text: tail, tokens: Vec::new() });
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use llama_cpp_2::model::LlamaModel;
    use llama_cpp_2::model::params::LlamaModelParams;

    use super::*;

    /// Texts that are cut give the tokens that llama.cpp gives for the whole: with real vocabularies, of
    /// which one has control tokens only and the other also counts line breaks and markup as special.
    #[test]
    fn a_long_text_gives_the_tokens_of_the_whole() {
        const SNIPPETS: [&str; 16] = [
            "The river runs to the sea. ",
            "\n",
            "\n\n",
            "\n\n\n\n",
            "  ",
            "\t",
            "<|im_end|>",
            "<|im_start|>user\n",
            "<b>bold</b>",
            "<table><tr>",
            "你好，世界 ",
            "🙂🇨🇳",
            "<end_of_turn>",
            "<|im_",
            "x = [1, 2];",
            "<bos>",
        ];
        llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default().with_logs_enabled(false));
        let llama = LlamaBackend::init().unwrap();
        for name in ["SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m.Q4_K_M.gguf"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models").join(name);
            if !path.is_file() {
                assert!(std::env::var_os("CI").is_none(), "{name} is missing: `make setup` fetches it");
                eprintln!("skipped, because {} is not there", path.display());
                continue;
            }
            let params = LlamaModelParams::default().with_vocab_only(true);
            let model = LlamaModel::load_from_file(&llama, &path, &params).unwrap();
            let tokenizer = Tokenizer::new(model.vocab());
            let mut state = 0x1234_5678_u32;
            for round in 0..6 {
                let mut text = String::new();
                while text.len() < 8 * long_text::STEP {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // In every second round a few snippets come in long runs.
                    let run = if round % 2 == 0 { 1 } else { 1 + (state >> 8) as usize % 300 };
                    text += &SNIPPETS[(state >> 24) as usize % SNIPPETS.len()].repeat(run);
                }
                let parts = tokenizer.special_texts().parts(text.as_bytes()).len();
                assert!(parts > 4, "{name}: {parts} parts");
                let whole = tokenizer.vocabulary.tokenize(text.as_bytes(), false, true);
                let whole: Vec<TokenId> = whole.into_iter().map(|token| TokenId(token.0)).collect();
                assert_eq!(tokenizer.tokenize(text.as_bytes()), whole, "{name}");
            }
        }
    }
}
