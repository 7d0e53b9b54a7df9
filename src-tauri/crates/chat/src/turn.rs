//! A turn: a message is kept, the engine answers, the answer is kept while it grows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reprise_engine::message::{
    Finished, GenerateSpec, KvType, LoadSpec, ModelInfo, Prepared, Sampling, StopReason, TokenId,
};
use reprise_engine::{EngineError, EngineHandle, Fault, GenerationEvent};
use reprise_store::{
    Conversation, ConversationId, FinishedAnswer, Message, MessageState, ModelRef, NewAnswer,
    NewConversation, NewMessage, NodeId, Role, StopReason as StoredStop, StoreError, TitleSource,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::deaths::{Action, Deaths};
use crate::prompt::{self, Known};
use crate::receipt::rate;
use crate::{ChatError, Library, Receipt, ResumePath, Timing, World};

/// How often a growing answer is kept. The promise is 250 ms; the disk gets the rest.
const SAVE_EVERY: Duration = Duration::from_millis(200);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A first message: a conversation begins.
    Begin {
        /// The message.
        text: String,
        /// Instructions for the model.
        system: Option<String>,
    },
    /// A further message.
    Continue {
        /// In this conversation.
        conversation: ConversationId,
        /// Behind this message; `None`: behind the one that is shown last. Behind an earlier one it
        /// begins a branch, and nothing is overwritten.
        parent: Option<NodeId>,
        /// The message.
        text: String,
    },
    /// Another answer to the same message: a branch beside the present one.
    Regenerate {
        /// The answer that is not good enough.
        answer: NodeId,
    },
}

/// How the model is loaded. The same options and file mean that a loaded model stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Context in tokens; `None`: the model's own within a default.
    pub n_ctx: Option<u32>,
    /// Threads; `None`: the engine's choice.
    pub n_threads: Option<u32>,
    /// Element type of the KV cache.
    pub kv_type: KvType,
}

/// How tokens are chosen; what is `None` is llama.cpp's default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplingOptions {
    /// See [`Sampling::temperature`].
    pub temperature: Option<f32>,
    /// See [`Sampling::top_k`].
    pub top_k: Option<i32>,
    /// See [`Sampling::top_p`].
    pub top_p: Option<f32>,
    /// See [`Sampling::min_p`].
    pub min_p: Option<f32>,
    /// See [`Sampling::repeat_penalty`].
    pub repeat_penalty: Option<f32>,
    /// The seed of the conversation's answers; `None`: the one it began with.
    pub seed: Option<u64>,
}

impl SamplingOptions {
    fn resolve(&self, seed: u32) -> Sampling {
        let usual = Sampling::default();
        Sampling {
            temperature: self.temperature.unwrap_or(usual.temperature),
            top_k: self.top_k.unwrap_or(usual.top_k),
            top_p: self.top_p.unwrap_or(usual.top_p),
            min_p: self.min_p.unwrap_or(usual.min_p),
            repeat_penalty: self.repeat_penalty.unwrap_or(usual.repeat_penalty),
            repeat_last_n: usual.repeat_last_n,
            seed,
        }
    }
}

/// One turn.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnRequest {
    /// What is asked for.
    pub ask: Ask,
    /// The GGUF file that answers.
    pub model: PathBuf,
    /// How it is loaded.
    pub load: LoadOptions,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// Tokens at most; `None`: as many as the context holds.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

/// What a turn reports while it goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnEvent {
    /// The message is on the disk.
    Kept {
        /// Where.
        conversation: ConversationId,
        /// The message.
        message: NodeId,
    },
    /// The model is being loaded.
    Loading {
        /// 0 to 1.
        fraction: f32,
    },
    /// The engine was lost before it had written anything, and is tried once more.
    Retrying {
        /// How it was lost.
        error: EngineError,
    },
    /// The prompt is tokenised.
    Prepared {
        /// Tokens of the prompt.
        tokens: u32,
        /// Of these, reused.
        reused: u32,
    },
    /// The prompt is being read.
    Reading {
        /// Tokens decoded.
        done: u32,
        /// Tokens to decode.
        of: u32,
    },
    /// The answer has begun and has a place in the tree.
    Answering {
        /// The answer.
        node: NodeId,
    },
    /// More of the answer.
    Text(String),
    /// The answer could not be kept so far; it goes on.
    NotKept {
        /// Stable snake-case word.
        code: &'static str,
        /// One sentence.
        message: String,
    },
}

/// A finished turn.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnOutcome {
    /// Where it belongs.
    pub conversation: ConversationId,
    /// The message that was answered.
    pub message: NodeId,
    /// The answer.
    pub node: NodeId,
    /// Its text.
    pub text: String,
    /// The tokens that were sampled.
    pub token_ids: Vec<TokenId>,
    /// Why it ended.
    pub stop: StopReason,
    /// How the prompt came to be in the KV cache.
    pub receipt: Receipt,
    /// What it took.
    pub timing: Timing,
}

/// Takes turns. One at a time: there is one engine with one live context.
#[derive(Debug)]
pub struct Chat {
    library: Library,
    engine: EngineHandle,
    world: Arc<dyn World>,
    /// Guards the counts of deaths; held for one look-up.
    deaths: Mutex<Deaths>,
    /// Held for a whole turn: the next one waits.
    turn: tokio::sync::Mutex<()>,
}

/// A message that waits for its answer.
struct Asked {
    conversation: Conversation,
    /// From the root to the message.
    path: Vec<Message>,
    message: NodeId,
    /// How many answers the message has already.
    alternatives: usize,
}

/// Why an attempt to answer failed.
struct Failed {
    error: EngineError,
    /// The answer that had begun.
    begun: Option<NodeId>,
}

impl Chat {
    /// Over a library and an engine.
    #[must_use]
    pub fn new(library: Library, engine: EngineHandle, world: Arc<dyn World>) -> Self {
        Self {
            library,
            engine,
            world,
            deaths: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The library it keeps conversations in.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Loads a model unless it is loaded just so already; `None` then, else the time it took.
    pub async fn load(
        &self,
        model: &Path,
        options: &LoadOptions,
        events: &mpsc::Sender<TurnEvent>,
        cancel: &watch::Receiver<bool>,
    ) -> Result<Option<f64>, ChatError> {
        let _turn = self.turn.lock().await;
        self.ensure_loaded(model, options, events, cancel, false).await
    }

    /// Takes one turn. Events are dropped where nobody reads them. The answer ends soon once `cancel`
    /// holds `true`; what came until then is kept.
    pub async fn take_turn(
        &self,
        request: TurnRequest,
        events: mpsc::Sender<TurnEvent>,
        cancel: watch::Receiver<bool>,
    ) -> Result<TurnOutcome, ChatError> {
        let _turn = self.turn.lock().await;
        let asked = self.keep_message(&request).await?;
        let kept = TurnEvent::Kept {
            conversation: asked.conversation.id,
            message: asked.message,
        };
        // Here and below: an error only means that nobody listens.
        let _ = events.send(kept).await;
        let action = Action::Answer(asked.conversation.id);
        loop {
            let load_ms = self
                .ensure_loaded(&request.model, &request.load, &events, &cancel, true)
                .await?;
            match self.answer(&request, &asked, &events, cancel.clone()).await {
                Ok(Ok(mut outcome)) => {
                    self.deaths
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .lived(&action);
                    outcome.timing.load_ms = load_ms;
                    return Ok(outcome);
                }
                Ok(Err(failed)) => self.after_failure(failed, &asked, &events, &action).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// `Ok` where the turn is to be tried once more.
    async fn after_failure(
        &self,
        failed: Failed,
        asked: &Asked,
        events: &mpsc::Sender<TurnEvent>,
        action: &Action,
    ) -> Result<(), ChatError> {
        let Failed { error, begun } = failed;
        let retry = match &error {
            EngineError::Died(_) => self
                .deaths
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .died(action.clone()),
            _ => false,
        };
        let conversation = asked.conversation.id;
        match (begun, error) {
            (Some(node), error) => Err(ChatError::Interrupted {
                error,
                conversation,
                node,
            }),
            (None, EngineError::Fault(fault @ Fault::PromptTooLong { .. })) => {
                // The message stays, as a branch; the conversation goes on from where it was.
                let message = asked.message;
                let parent = asked.path.last().and_then(|message| message.parent);
                self.library
                    .with(move |w| w.set_active_leaf(conversation, parent))
                    .await?;
                Err(ChatError::PromptTooLong {
                    fault,
                    conversation,
                    message,
                })
            }
            (None, error) if retry => {
                let _ = events.send(TurnEvent::Retrying { error }).await;
                Ok(())
            }
            (None, error) => Err(ChatError::Engine {
                error,
                message_kept: true,
            }),
        }
    }

    /// Puts the person's message on the disk before the engine hears of it.
    async fn keep_message(&self, request: &TurnRequest) -> Result<Asked, ChatError> {
        let empty = |text: &str| -> Result<(), ChatError> {
            let error = EngineError::Fault(Fault::PromptEmpty);
            if text.trim().is_empty() {
                Err(ChatError::Engine {
                    error,
                    message_kept: false,
                })
            } else {
                Ok(())
            }
        };
        let now = self.world.now();
        let model = ModelRef {
            path: request.model.display().to_string(),
            name: request
                .model
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        };
        let message = NodeId::new(now, self.world.random());
        match request.ask.clone() {
            Ask::Begin { text, system } => {
                empty(&text)?;
                let new = NewConversation {
                    id: ConversationId::new(now, self.world.random()),
                    title: prompt::title_of(&text),
                    title_source: TitleSource::Derived,
                    model: Some(model),
                    seed: request
                        .sampling
                        .seed
                        .unwrap_or_else(|| self.world.random() as u64 & 0xffff_ffff),
                };
                let root = NodeId::new(now, self.world.random());
                let system = system.filter(|system| !system.trim().is_empty());
                Ok(self
                    .library
                    .with(move |w| {
                        let conversation = w.create_conversation(&new)?.id;
                        let mut parent = None;
                        if let Some(text) = system {
                            let system = NewMessage {
                                id: root,
                                conversation,
                                parent,
                                role: Role::System,
                                text,
                            };
                            parent = Some(w.append_message(&system)?.id);
                        }
                        let user = NewMessage {
                            id: message,
                            conversation,
                            parent,
                            role: Role::User,
                            text,
                        };
                        w.append_message(&user)?;
                        asked(w, conversation, message)
                    })
                    .await?)
            }
            Ask::Continue {
                conversation,
                parent,
                text,
            } => {
                empty(&text)?;
                let found = self.library.with(move |w| w.conversation(conversation)).await?;
                not_trashed(&found)?;
                Ok(self
                    .library
                    .with(move |w| {
                        let parent = parent.or(found.active_leaf);
                        w.set_model(conversation, Some(&model))?;
                        let user = NewMessage {
                            id: message,
                            conversation,
                            parent,
                            role: Role::User,
                            text,
                        };
                        w.append_message(&user)?;
                        asked(w, conversation, message)
                    })
                    .await?)
            }
            Ask::Regenerate { answer } => {
                let answer = self.library.with(move |w| w.message(answer)).await?;
                let conversation = answer.conversation;
                let found = self.library.with(move |w| w.conversation(conversation)).await?;
                not_trashed(&found)?;
                let (Role::Assistant, Some(message)) = (answer.role, answer.parent) else {
                    return Err(ChatError::BadRequest {
                        what: "Only an answer can be generated again.",
                        remedy: "Choose the answer, not the message before it.",
                    });
                };
                Ok(self
                    .library
                    .with(move |w| {
                        w.set_model(conversation, Some(&model))?;
                        asked(w, conversation, message)
                    })
                    .await?)
            }
        }
    }

    async fn ensure_loaded(
        &self,
        model: &Path,
        options: &LoadOptions,
        events: &mpsc::Sender<TurnEvent>,
        cancel: &watch::Receiver<bool>,
        message_kept: bool,
    ) -> Result<Option<f64>, ChatError> {
        let failed = |error: EngineError| ChatError::Engine { error, message_kept };
        // The worker has another working directory.
        let model = std::path::absolute(model).unwrap_or_else(|_| model.to_owned());
        let spec = LoadSpec {
            model: model.clone(),
            n_ctx: options.n_ctx,
            n_threads: options.n_threads,
            kv_type: options.kv_type,
        };
        let action = Action::Load(model);
        loop {
            let same = self
                .engine
                .status()
                .borrow()
                .loaded
                .as_ref()
                .is_some_and(|l| l.spec == spec);
            if same {
                return Ok(None);
            }
            let (progress, mut fractions) = mpsc::channel(16);
            let loading = self.engine.load(spec.clone(), progress, cancel.clone());
            tokio::pin!(loading);
            let result = loop {
                tokio::select! {
                    result = &mut loading => break result,
                    Some(fraction) = fractions.recv() => {
                        let _ = events.send(TurnEvent::Loading { fraction }).await;
                    }
                }
            };
            let mut deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(ModelInfo { load_ms, .. }) => {
                    deaths.lived(&action);
                    return Ok(Some(load_ms));
                }
                Err(error @ EngineError::Died(_)) if deaths.died(action.clone()) => {
                    drop(deaths);
                    let _ = events.send(TurnEvent::Retrying { error }).await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    async fn answer(
        &self,
        request: &TurnRequest,
        asked: &Asked,
        events: &mpsc::Sender<TurnEvent>,
        cancel: watch::Receiver<bool>,
    ) -> Result<Result<TurnOutcome, Failed>, ChatError> {
        let info = self
            .engine
            .status()
            .borrow()
            .loaded
            .as_ref()
            .map(|loaded| loaded.info.clone());
        let Some(info) = info else {
            let error = EngineError::Fault(Fault::NotLoaded);
            return Ok(Err(Failed { error, begun: None }));
        };
        let before = &asked.path[..asked.path.len() - 1];
        let known = prompt::known(before, &info.token_identity);
        let seed = request.sampling.seed.unwrap_or(asked.conversation.seed);
        let spec = GenerateSpec {
            messages: prompt::messages(&asked.path),
            known: known.tokens.clone(),
            sampling: request
                .sampling
                .resolve(prompt::seed_of(seed, asked.path.len(), asked.alternatives)),
            max_tokens: request.max_tokens,
            stop: request.stop.clone(),
            began: i64::try_from(asked.conversation.created.as_millis() / 1000).unwrap_or(0),
        };
        let mut generation = match self.engine.generate(spec, cancel).await {
            Ok(generation) => generation,
            Err(error) => return Ok(Err(Failed { error, begun: None })),
        };
        let mut answer = GrowingAnswer {
            chat: self,
            info,
            message: asked.message,
            events,
            node: None,
            text: String::new(),
            tokens: Vec::new(),
            unsaved_since: None,
            told: false,
        };
        let mut prepared = None;
        loop {
            let save_at = answer.unsaved_since.map(|since| since + SAVE_EVERY);
            let event = tokio::select! {
                // Keeping comes first: a stream that never pauses must not put it off.
                biased;
                () = async { match save_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                } } => {
                    answer.save().await;
                    continue;
                }
                event = generation.next() => event,
            };
            match event {
                GenerationEvent::Prepared(p) => {
                    self.keep_prompt_tokens(asked, &known, &p, &answer.info.token_identity)
                        .await?;
                    let told = TurnEvent::Prepared {
                        tokens: p.prompt_tokens,
                        reused: p.reused,
                    };
                    let _ = events.send(told).await;
                    prepared = Some(p);
                }
                GenerationEvent::Prefill { done } => {
                    let of = prepared.as_ref().map_or(done, |p| p.to_decode);
                    let _ = events.send(TurnEvent::Reading { done, of }).await;
                }
                GenerationEvent::Piece { text, tokens } => answer.grow(text, &tokens).await?,
                GenerationEvent::Ended(Ok(finished)) => {
                    let (receipt, timing) = account(prepared.as_ref(), &finished);
                    return answer.finish(asked, &finished, receipt, timing).await.map(Ok);
                }
                GenerationEvent::Ended(Err(error)) => {
                    let begun = answer.interrupt(&error).await?;
                    return Ok(Err(Failed { error, begun }));
                }
            }
        }
    }

    /// The prompt's tokens since the answer before belong to the person's message.
    async fn keep_prompt_tokens(
        &self,
        asked: &Asked,
        known: &Known,
        prepared: &Prepared,
        identity: &str,
    ) -> Result<(), StoreError> {
        // Where the template wrote the past anew, they do not continue what is known.
        if !known.complete || prepared.known_kept as usize != known.tokens.len() {
            return Ok(());
        }
        let tokens = prompt::sequence(identity, &prepared.new_tokens);
        let message = asked.message;
        self.library.with(move |w| w.set_tokens(message, &tokens)).await
    }
}

fn asked(
    w: &reprise_store::HistoryWriter,
    conversation: ConversationId,
    message: NodeId,
) -> Result<Asked, StoreError> {
    Ok(Asked {
        conversation: w.conversation(conversation)?,
        path: w.path_to(message)?,
        message,
        alternatives: w
            .children(message)?
            .iter()
            .filter(|child| child.role == Role::Assistant)
            .count(),
    })
}

fn not_trashed(conversation: &Conversation) -> Result<(), ChatError> {
    if conversation.trashed_at.is_none() {
        return Ok(());
    }
    Err(ChatError::BadRequest {
        what: "This conversation is in the trash.",
        remedy: "Restore it first.",
    })
}

/// An answer while it is written.
struct GrowingAnswer<'a> {
    chat: &'a Chat,
    info: ModelInfo,
    message: NodeId,
    events: &'a mpsc::Sender<TurnEvent>,
    /// Set with the first token: until then nothing needs a place in the tree.
    node: Option<NodeId>,
    text: String,
    tokens: Vec<TokenId>,
    unsaved_since: Option<Instant>,
    /// Whether the person knows that it could not be kept.
    told: bool,
}

impl GrowingAnswer<'_> {
    async fn begin(&mut self) -> Result<NodeId, StoreError> {
        if let Some(node) = self.node {
            return Ok(node);
        }
        let id = NodeId::new(self.chat.world.now(), self.chat.world.random());
        let new = NewAnswer {
            id,
            parent: self.message,
            model_name: Some(self.info.name.clone()),
        };
        self.chat.library.with(move |w| w.begin_answer(&new)).await?;
        self.node = Some(id);
        let _ = self.events.send(TurnEvent::Answering { node: id }).await;
        Ok(id)
    }

    async fn grow(&mut self, text: String, tokens: &[TokenId]) -> Result<(), StoreError> {
        self.begin().await?;
        self.text.push_str(&text);
        self.tokens.extend_from_slice(tokens);
        self.unsaved_since.get_or_insert_with(Instant::now);
        if !text.is_empty() {
            let _ = self.events.send(TurnEvent::Text(text)).await;
        }
        Ok(())
    }

    /// A failure here is told once; the end of the answer tries again.
    async fn save(&mut self) {
        self.unsaved_since = None;
        let Some(node) = self.node else { return };
        let text = self.text.clone();
        let tokens = prompt::sequence(&self.info.token_identity, &self.tokens);
        let saved = self
            .chat
            .library
            .with(move |w| w.update_answer(node, &text, Some(&tokens)))
            .await;
        if let Err(error) = saved {
            tracing::warn!(code = error.code(), "a growing answer could not be kept");
            if !std::mem::replace(&mut self.told, true) {
                let told = TurnEvent::NotKept {
                    code: error.code(),
                    message: error.to_string(),
                };
                let _ = self.events.send(told).await;
            }
        }
    }

    async fn close(&self, node: NodeId, end: Ending) -> Result<(), StoreError> {
        let answer = FinishedAnswer {
            text: self.text.clone(),
            tokens: Some(prompt::sequence(&self.info.token_identity, &self.tokens)),
            state: end.state,
            stop: Some(end.stop),
            stats: end.stats,
            receipt: end.receipt,
            notice: end.notice,
            finished: self.chat.world.now(),
        };
        self.chat
            .library
            .with(move |w| w.finish_answer(node, &answer))
            .await
            .map(drop)
    }

    async fn finish(
        mut self,
        asked: &Asked,
        finished: &Finished,
        receipt: Receipt,
        timing: Timing,
    ) -> Result<TurnOutcome, ChatError> {
        // An answer stopped before its first token still has its place, empty.
        let node = self.begin().await?;
        let (state, stop) = match finished.stop {
            StopReason::End => (MessageState::Complete, StoredStop::End),
            StopReason::Length => (MessageState::Complete, StoredStop::Length),
            StopReason::Cancelled => (MessageState::Stopped, StoredStop::Cancelled),
        };
        let end = Ending {
            state,
            stop,
            stats: serde_json::to_value(&timing).ok(),
            receipt: serde_json::to_value(&receipt).ok(),
            notice: None,
        };
        self.close(node, end).await?;
        Ok(TurnOutcome {
            conversation: asked.conversation.id,
            message: asked.message,
            node,
            text: self.text,
            token_ids: self.tokens,
            stop: finished.stop,
            receipt,
            timing,
        })
    }

    /// Keeps what came, marked interrupted; the node, where anything came.
    async fn interrupt(&self, error: &EngineError) -> Result<Option<NodeId>, StoreError> {
        let Some(node) = self.node else { return Ok(None) };
        let end = Ending {
            state: MessageState::Interrupted,
            stop: StoredStop::Failed,
            stats: None,
            receipt: None,
            notice: Some(error.to_string()),
        };
        self.close(node, end).await?;
        Ok(Some(node))
    }
}

/// How an answer is closed.
struct Ending {
    state: MessageState,
    stop: StoredStop,
    stats: Option<serde_json::Value>,
    receipt: Option<serde_json::Value>,
    notice: Option<String>,
}

fn account(prepared: Option<&Prepared>, finished: &Finished) -> (Receipt, Timing) {
    let (total, reused, prepare_ms) =
        prepared.map_or((0, 0, 0.0), |p| (p.prompt_tokens, p.reused, p.prepare_ms));
    let receipt = Receipt {
        path: if reused > 0 {
            ResumePath::Live
        } else {
            ResumePath::Fresh
        },
        reason: None,
        tokens_total: total,
        tokens_reused: reused,
        tokens_decoded: finished.prefill_tokens,
        bytes_read: 0,
        ms: prepare_ms + finished.prefill_ms,
        ms_bytes: None,
        ms_challenge: None,
        estimated_replay_ms: None,
        checks: Vec::new(),
    };
    let timing = Timing {
        load_ms: None,
        resume_ms: prepare_ms,
        ttft_ms: finished.ttft_ms,
        prefill_tokens: finished.prefill_tokens,
        prefill_tok_s: rate(finished.prefill_tokens, finished.prefill_ms),
        decode_tokens: finished.decode_tokens,
        decode_tok_s: rate(finished.decode_tokens.saturating_sub(1), finished.decode_ms),
    };
    (receipt, timing)
}
