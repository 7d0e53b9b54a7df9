//! A turn: a message is kept, the engine answers, the answer is kept while it grows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reprise_engine::message::{GenerateSpec, LoadSpec, ModelInfo, Prepared};
use reprise_engine::{EngineError, EngineHandle, Fault, GenerationEvent};
use reprise_store::{
    Conversation, ConversationId, FileStamp, FinishedAnswer, HistoryWriter, Message, MessageState, ModelRef,
    NewConversation, NewMessage, NodeId, Role, StopReason, StoreError, Timestamp, TitleSource,
};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::answer::GrowingAnswer;
use crate::deaths::{Action, Deaths};
use crate::identity::model_files;
use crate::not_saved::News;
use crate::open_turns::OpenTurns;
use crate::opening::Openings;
use crate::places::model_path;
use crate::prompt::{self, Known};
use crate::receipt::account;
use crate::resume::Ahead;
use crate::snapshots::Snapshots;
use crate::state_use::StateUse;
use crate::states::{Footing, Ready, Underway, Unsaved, Whose};
use crate::{Ask, ChatError, Library, LoadOptions, NotSaved, TurnEvent, TurnOutcome, TurnRequest, World};

/// Refuses a message that says nothing. A turn does so itself; for callers who can tell earlier, before
/// a model is loaded.
pub fn require_text(text: &str) -> Result<(), ChatError> {
    if text.trim().is_empty() {
        let error = EngineError::Fault(Fault::PromptEmpty);
        return Err(ChatError::Engine { error, message_kept: false });
    }
    Ok(())
}

/// Takes turns. The engine answers one at a time, with its one live context; a message that is sent
/// meanwhile is kept at once and waits.
#[derive(Debug)]
pub struct Chat {
    pub(crate) library: Library,
    pub(crate) engine: EngineHandle,
    pub(crate) world: Arc<dyn World>,
    /// Guards the counts of deaths; held for one look-up.
    deaths: Mutex<Deaths>,
    /// Held from the engine's first to its last part in a turn: the next one waits, first come first served.
    /// Guards the live state that is not kept yet.
    pub(crate) turn: tokio::sync::Mutex<Option<Unsaved>>,
    pub(crate) snapshots: Option<Snapshots>,
    /// Why there is no cache of states, where one was wanted.
    pub(crate) snapshots_off: Option<NotSaved>,
    pub(crate) saving: Underway,
    pub(crate) news: Arc<News>,
    /// Rung when something waits for a pause.
    pub(crate) pause: tokio::sync::Notify,
    /// Rung when a turn wants the engine: what is done in a pause makes way.
    pub(crate) wanted: tokio::sync::Notify,
    /// Guards the name of the comparison that nobody has made yet of the model that answered last; held for
    /// one look-up.
    pub(crate) unqualified: Mutex<Option<String>>,
    /// Whether large states wait for a pause.
    pub(crate) patient: bool,
    /// Guards whose tokens the live context holds; held for one look-up.
    pub(crate) live: Mutex<Option<ConversationId>>,
    /// Guards the sizes of the latest states, in bytes; held for one look-up.
    pub(crate) state_sizes: Mutex<HashMap<ConversationId, u64>>,
    pub(crate) open: OpenTurns,
    /// The opening that goes on.
    pub(crate) openings: Openings,
    /// What tells the loaded model's files from edited ones, as they were before it was loaded. `None` where
    /// they could not be read, or changed meanwhile. Held for one look-up.
    files_as_loaded: Mutex<Option<Vec<FileStamp>>>,
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

/// A finished answer, and what its state belongs to.
type Answered = (TurnOutcome, Option<Footing>, ModelInfo);

/// Rings when dropped: however a turn ends, what waits for a pause waits anew.
pub(crate) struct Ring<'a>(pub(crate) &'a tokio::sync::Notify);

impl Drop for Ring<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
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
            snapshots: None,
            snapshots_off: None,
            saving: Underway::default(),
            news: Arc::default(),
            pause: tokio::sync::Notify::new(),
            wanted: tokio::sync::Notify::new(),
            unqualified: Mutex::default(),
            patient: true,
            live: Mutex::default(),
            state_sizes: Mutex::default(),
            open: OpenTurns::default(),
            openings: Openings::default(),
            files_as_loaded: Mutex::default(),
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
        self.openings.stop_any();
        self.wanted.notify_waiters();
        let _turn = self.turn.lock().await;
        self.wanted.notify_waiters();
        self.ensure_loaded(model, options, events, cancel, false).await
    }

    /// Takes one turn. Events are dropped where nobody reads them. The answer ends soon once `cancel`
    /// holds `true`; what came until then is kept.
    pub async fn take_turn(
        &self,
        mut request: TurnRequest,
        events: mpsc::Sender<TurnEvent>,
        cancel: watch::Receiver<bool>,
    ) -> Result<TurnOutcome, ChatError> {
        let conversation = self.conversation_of(&request.ask).await?;
        let open = self.open.open(conversation, cancel)?;
        let cancel = open.stopped();
        let asked = self.keep_message(&request, conversation).await?;
        let choices = self.library.with(move |w| w.choices(conversation)).await?;
        let states = StateUse::of(request.snapshots, choices);
        if choices.always_cpu {
            request.load.offload = None;
        }
        let kept = TurnEvent::Kept { conversation: asked.conversation.id, message: asked.message };
        // Here and below: an error only means that nobody listens.
        let _ = events.send(kept).await;
        self.openings.give_way(conversation);
        let mut turn = self.wait_in_line(&events, cancel.clone()).await?;
        // Again: what is done in a pause may have begun to listen after the first time.
        self.wanted.notify_waiters();
        let _at_the_end = Ring(&self.pause);
        self.before_turn(&mut turn, conversation).await;
        let action = Action::Answer(asked.conversation.id);
        loop {
            let loading = self.ensure_loaded(&request.model, &request.load, &events, &cancel, true);
            let reading =
                async { Ok(self.read_ahead(&request.model, &request.load, states, &asked.path).await) };
            // Where loading fails, nobody waits for what is read beside it.
            let (load_ms, ahead) = tokio::try_join!(loading, reading)?;
            match self.answer(&request, &asked, states, ahead, &events, cancel.clone()).await {
                Ok(Ok((mut outcome, footing, info))) => {
                    self.learn_load(footing.as_ref(), load_ms);
                    let whose = Whose { conversation, node: outcome.node, asked: outcome.message };
                    if let Some(saving) = self.keep_state(&mut turn, whose, footing, info, states).await {
                        outcome.saving = saving;
                    }
                    self.deaths.lock().unwrap_or_else(PoisonError::into_inner).lived(&action);
                    outcome.timing.load_ms = load_ms;
                    return Ok(outcome);
                }
                Ok(Err(failed)) => self.after_failure(failed, &asked, &events, &action).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Where a turn belongs; a first message gets a conversation's id.
    async fn conversation_of(&self, ask: &Ask) -> Result<ConversationId, ChatError> {
        let message = match ask {
            Ask::Begin { .. } => return Ok(ConversationId::new(self.world.now(), self.world.random())),
            Ask::Continue { conversation, .. } => return Ok(*conversation),
            Ask::Regenerate { answer } => *answer,
            Ask::Edit { message, .. } | Ask::Retry { message } => *message,
        };
        Ok(self.library.with(move |w| w.message(message)).await?.conversation)
    }

    /// Waits for the turns that were asked for before.
    async fn wait_in_line(
        &self,
        events: &mpsc::Sender<TurnEvent>,
        mut cancel: watch::Receiver<bool>,
    ) -> Result<tokio::sync::MutexGuard<'_, Option<Unsaved>>, ChatError> {
        self.wanted.notify_waiters();
        if let Ok(turn) = self.turn.try_lock() {
            return Ok(turn);
        }
        let _ = events.send(TurnEvent::Queued).await;
        tokio::select! {
            turn = self.turn.lock() => Ok(turn),
            Ok(_) = cancel.wait_for(|cancelled| *cancelled) => {
                Err(ChatError::Engine { error: Fault::Cancelled.into(), message_kept: true })
            }
        }
    }

    /// Ends the turn of a conversation soon, or takes it out of the line. False where there is none.
    pub fn stop(&self, conversation: ConversationId) -> bool {
        self.open.stop(conversation)
    }

    /// Ends the turn of a conversation and waits until what came of it is kept.
    pub(crate) async fn end_turn(&self, conversation: ConversationId) {
        self.open.end(conversation).await;
    }

    /// Puts conversations into the trash. An answer that is being written there ends, and is kept.
    pub async fn trash(&self, ids: Vec<ConversationId>, now: Timestamp) -> Result<(), StoreError> {
        for id in &ids {
            self.stop(*id);
        }
        self.library.with(move |w| ids.iter().try_for_each(|id| w.trash(*id, now))).await
    }

    /// Ends all turns, lets none begin, and waits until what came of them is kept.
    pub async fn close(&self) {
        self.openings.stop_any();
        self.open.close().await;
    }

    pub(crate) fn deaths(&self) -> MutexGuard<'_, Deaths> {
        self.deaths.lock().unwrap_or_else(PoisonError::into_inner)
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
            // Another worker took the place of the one that had the model.
            EngineError::Died(_) | EngineError::Fault(Fault::NotLoaded) => {
                self.deaths.lock().unwrap_or_else(PoisonError::into_inner).died(action.clone())
            }
            _ => false,
        };
        let conversation = asked.conversation.id;
        match (begun, error) {
            (Some(node), error) => Err(ChatError::Interrupted { error, conversation, node }),
            (None, EngineError::Fault(fault @ Fault::PromptTooLong { .. })) => {
                // The message stays, as a branch; the conversation goes on from where it was.
                let message = asked.message;
                let parent = asked.path.last().and_then(|message| message.parent);
                self.library.with(move |w| w.set_active_leaf(conversation, parent)).await?;
                Err(ChatError::PromptTooLong { fault, conversation, message })
            }
            (None, error) if retry => {
                let _ = events.send(TurnEvent::Retrying { error }).await;
                Ok(())
            }
            (None, error) => Err(ChatError::Engine { error, message_kept: true }),
        }
    }

    /// Puts the person's message on the disk before the engine hears of it.
    async fn keep_message(
        &self,
        request: &TurnRequest,
        conversation: ConversationId,
    ) -> Result<Asked, ChatError> {
        let now = self.world.now();
        let model = ModelRef {
            path: request.model.display().to_string(),
            name: request.model.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let message = NodeId::new(now, self.world.random());
        match request.ask.clone() {
            Ask::Begin { text, system } => {
                require_text(&text)?;
                let new = NewConversation {
                    id: conversation,
                    title: prompt::title_of(&text),
                    title_source: TitleSource::Derived,
                    model: Some(model),
                    seed: request.sampling.seed.unwrap_or_else(|| small(self.world.random())),
                };
                let root = NodeId::new(now, self.world.random());
                let system = system.filter(|system| !system.trim().is_empty());
                Ok(self
                    .library
                    .with(move |w| {
                        let conversation = w.create_conversation(&new)?.id;
                        let mut parent = None;
                        if let Some(text) = system {
                            let system =
                                NewMessage { id: root, conversation, parent, role: Role::System, text };
                            parent = Some(w.append_message(&system)?.id);
                        }
                        let user = NewMessage { id: message, conversation, parent, role: Role::User, text };
                        w.append_message(&user)?;
                        asked(w, conversation, message)
                    })
                    .await?)
            }
            Ask::Continue { parent, text, .. } => {
                require_text(&text)?;
                let found = self.library.with(move |w| w.conversation(conversation)).await?;
                not_trashed(&found)?;
                Ok(self
                    .library
                    .with(move |w| {
                        let parent = parent.or(found.active_leaf);
                        if let Some(parent) = parent {
                            close_abandoned(w, parent, now)?;
                        }
                        w.set_model(conversation, Some(&model))?;
                        let user = NewMessage { id: message, conversation, parent, role: Role::User, text };
                        w.append_message(&user)?;
                        asked(w, conversation, message)
                    })
                    .await?)
            }
            Ask::Edit { message: edited, text } => {
                require_text(&text)?;
                let found = self.library.with(move |w| w.conversation(conversation)).await?;
                not_trashed(&found)?;
                let edited = self.library.with(move |w| w.message(edited)).await?;
                if edited.role != Role::User {
                    return Err(ChatError::BadRequest {
                        what: "Only a message of yours can be written anew.",
                        remedy: "Choose the message, not the answer to it.",
                    });
                }
                Ok(self
                    .library
                    .with(move |w| {
                        w.set_model(conversation, Some(&model))?;
                        let parent = edited.parent;
                        let user = NewMessage { id: message, conversation, parent, role: Role::User, text };
                        w.append_message(&user)?;
                        asked(w, conversation, message)
                    })
                    .await?)
            }
            Ask::Regenerate { answer } => {
                let answer = self.library.with(move |w| w.message(answer)).await?;
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
            Ask::Retry { message } => self.waiting_again(conversation, message, model).await,
        }
    }

    /// A message of the person that has no answer.
    async fn waiting_again(
        &self,
        conversation: ConversationId,
        message: NodeId,
        model: ModelRef,
    ) -> Result<Asked, ChatError> {
        let found = self.library.with(move |w| w.conversation(conversation)).await?;
        not_trashed(&found)?;
        let waiting = self.library.with(move |w| asked(w, conversation, message)).await?;
        let is_theirs = waiting.path.last().is_some_and(|message| message.role == Role::User);
        if !is_theirs || waiting.alternatives > 0 {
            return Err(ChatError::BadRequest {
                what: "Only a message of yours that has no answer can be sent again.",
                remedy: "Ask for another answer instead.",
            });
        }
        self.library.with(move |w| w.set_model(conversation, Some(&model))).await?;
        Ok(waiting)
    }

    pub(crate) async fn ensure_loaded(
        &self,
        model: &Path,
        options: &LoadOptions,
        events: &mpsc::Sender<TurnEvent>,
        cancel: &watch::Receiver<bool>,
        message_kept: bool,
    ) -> Result<Option<f64>, ChatError> {
        let failed = |error: EngineError| ChatError::Engine { error, message_kept };
        let spec = spec_of(model, options).map_err(|fault| failed(fault.into()))?;
        let spec = self.placed(spec).await;
        let action = Action::Load(spec.model.clone());
        loop {
            let files = stamps(&spec.model).await;
            // A file that is gone does not take away what is loaded; another in its place is another model.
            if self.has_loaded(&spec) && (files.is_none() || self.files_are_as_loaded(files.as_deref())) {
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
            match result {
                Ok(ModelInfo { load_ms, .. }) => {
                    self.deaths().lived(&action);
                    let after = stamps(&spec.model).await;
                    *self.files() = files.filter(|files| after.as_ref() == Some(files));
                    return Ok(Some(load_ms));
                }
                Err(error @ EngineError::Died(_)) if self.deaths().died(action.clone()) => {
                    let _ = events.send(TurnEvent::Retrying { error }).await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn files(&self) -> MutexGuard<'_, Option<Vec<FileStamp>>> {
        self.files_as_loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files_are_as_loaded(&self, now: Option<&[FileStamp]>) -> bool {
        now.is_some() && self.files().as_deref() == now
    }

    /// Whether the model's files are what they were when it was loaded: only then their hash is the
    /// model's.
    pub(crate) async fn is_as_loaded(&self, model: &Path) -> bool {
        self.files_are_as_loaded(stamps(model).await.as_deref())
    }

    pub(crate) fn has_loaded(&self, spec: &LoadSpec) -> bool {
        self.engine.status().borrow().loaded.as_ref().is_some_and(|loaded| loaded.spec == *spec)
    }

    async fn answer(
        &self,
        request: &TurnRequest,
        asked: &Asked,
        states: StateUse,
        ahead: Option<Ahead>,
        events: &mpsc::Sender<TurnEvent>,
        cancel: watch::Receiver<bool>,
    ) -> Result<Result<Answered, Failed>, ChatError> {
        let loaded = self.engine.status().borrow().loaded.clone();
        let Some(loaded) = loaded else {
            let error = EngineError::Fault(Fault::NotLoaded);
            return Ok(Err(Failed { error, begun: None }));
        };
        let info = loaded.info.clone();
        let before = &asked.path[..asked.path.len() - 1];
        let known = prompt::known(before, &info.token_identity);
        let seed = request.sampling.seed.unwrap_or(asked.conversation.seed);
        let id = asked.conversation.id;
        let spec = GenerateSpec {
            messages: prompt::messages(&asked.path),
            known: known.tokens.clone(),
            sampling: request.sampling.resolve(prompt::seed_of(seed, asked.path.len(), asked.alternatives)),
            max_tokens: request.max_tokens,
            stop: request.stop.clone(),
            began: i64::try_from(asked.conversation.created.as_millis() / 1000).unwrap_or(0),
            also_known: self.also_known(id, before, &known, states.keeps()).await,
            checkpoint: false,
            reading: false,
        };
        // With whatever tokeniser and template: what was computed before is not fresh.
        let computed =
            before.iter().filter_map(|message| message.tokens.as_ref()).map(|tokens| tokens.ids.len());
        let ready = self.get_ready(id, computed.sum(), states, ahead, &spec, &loaded);
        let mut stopped = cancel.clone();
        let ready = tokio::select! {
            biased;
            ready = ready => ready,
            // A state may take long to read. What is on trial is never used.
            Ok(_) = stopped.wait_for(|stopped| *stopped) => Ok(Self::stopped_before_ready()),
        };
        let Ready { resumption, footing, checkpoint } = match ready {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(Failed { error, begun: None })),
        };
        Self::tell_resumed(events, &resumption).await;
        let spec = GenerateSpec { checkpoint, ..spec };
        let mut generation = match self.engine.generate(spec, cancel).await {
            Ok(generation) => generation,
            Err(error) => return Ok(Err(Failed { error, begun: None })),
        };
        let identity = info.token_identity.clone();
        let (library, world) = (&self.library, self.world.as_ref());
        let mut answer = GrowingAnswer::new(library, world, events, info, asked.message);
        let mut prepared = None;
        loop {
            let save_at = answer.save_at();
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
                    self.keep_prompt_tokens(asked, &known, &p, &identity).await?;
                    let told = TurnEvent::Prepared { tokens: p.prompt_tokens, reused: p.reused };
                    let _ = events.send(told).await;
                    prepared = Some(p);
                }
                GenerationEvent::Prefill { done } => {
                    let of = prepared.as_ref().map_or(done, |p| p.to_decode);
                    let _ = events.send(TurnEvent::Reading { done, of }).await;
                }
                GenerationEvent::Piece { text, tokens } => answer.grow(text, &tokens).await?,
                GenerationEvent::Ended(Ok(finished)) => {
                    self.learn_pace(footing.as_ref(), prepared.as_ref(), &finished);
                    let accounts = account(&resumption, prepared.as_ref(), &finished);
                    let outcome = answer.finish(id, &finished, accounts).await?;
                    return Ok(Ok((outcome, footing, loaded.info)));
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

/// How the engine is asked to load a model.
pub(crate) fn spec_of(model: &Path, options: &LoadOptions) -> Result<LoadSpec, Fault> {
    Ok(LoadSpec {
        model: model_path(model)?,
        n_ctx: options.n_ctx,
        n_threads: options.n_threads,
        kv_type: options.kv_type,
        flash_attention: options.flash_attention,
        rope_freq_base: options.rope_freq_base,
        offload: options.offload.clone(),
    })
}

fn asked(w: &HistoryWriter, conversation: ConversationId, message: NodeId) -> Result<Asked, StoreError> {
    Ok(Asked {
        conversation: w.conversation(conversation)?,
        path: w.path_to(message)?,
        message,
        alternatives: w.children(message)?.iter().filter(|child| child.role == Role::Assistant).count(),
    })
}

/// A seed that people can type.
fn small(random: u128) -> u64 {
    let [a, b, c, d, ..] = random.to_le_bytes();
    u64::from(u32::from_le_bytes([a, b, c, d]))
}

/// An answer whose end could not be kept, because the disk was full, say: nobody writes it any more.
fn close_abandoned(w: &mut HistoryWriter, node: NodeId, now: Timestamp) -> Result<(), StoreError> {
    let message = w.message(node)?;
    if message.state != MessageState::Streaming {
        return Ok(());
    }
    let closed = FinishedAnswer {
        text: message.text,
        tokens: message.tokens,
        state: MessageState::Interrupted,
        stop: Some(StopReason::Failed),
        stats: None,
        receipt: None,
        notice: None,
        finished: now,
    };
    w.finish_answer(node, &closed).map(drop)
}

pub(crate) fn not_trashed(conversation: &Conversation) -> Result<(), ChatError> {
    if conversation.trashed_at.is_none() {
        return Ok(());
    }
    Err(ChatError::BadRequest { what: "This conversation is in the trash.", remedy: "Restore it first." })
}

/// What tells the model's files from edited ones; `None` where they cannot be read.
async fn stamps(model: &Path) -> Option<Vec<FileStamp>> {
    let files = model_files(model);
    tokio::task::spawn_blocking(move || FileStamp::of_all(&files).ok()).await.ok().flatten()
}
