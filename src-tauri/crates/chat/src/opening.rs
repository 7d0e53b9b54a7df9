//! Opening a conversation: it is made ready for its next message while the person looks at it.
//!
//! It never interrupts an answer, loads no model just because a conversation is looked at, and gives way when
//! the person turns to something else: another opening takes its place, a turn elsewhere ends it. A turn in the
//! same conversation waits for it, because it needs what is being done.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reprise_engine::message::{Finished, GenerateSpec, LoadSpec, Prepared};
use reprise_engine::{EngineError, Fault, GenerationEvent};
use reprise_store::{Conversation, ConversationId, Message, NodeId, Role, Timestamp};
use tokio::sync::{mpsc, watch};

use crate::deaths::Action;
use crate::prompt;
use crate::receipt::{Reason, Receipt, ResumePath, account};
use crate::resume::{Ahead, SHORTEST};
use crate::state_use::StateUse;
use crate::states::{LOOKED_BACK, Ready, Unsaved, Whose};
use crate::token_count::estimate;
use crate::turn::{Ring, spec_of};
use crate::{Chat, ChatError, LoadOptions, SamplingOptions, TurnEvent};

/// Why a conversation is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// It is shown: only where the loaded model fits.
    Opened,
    /// The person is about to write in it: the model is loaded for it, too.
    Composing,
    /// The person asked that its text is read, whatever is there.
    Replay,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRequest {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The GGUF file that would answer next.
    pub model: PathBuf,
    /// How it is loaded.
    pub load: LoadOptions,
    /// Whether states are restored and kept.
    pub snapshots: bool,
    /// Why.
    pub trigger: Trigger,
}

/// What an opening reports while it goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum OpenEvent {
    /// The model is being loaded.
    Loading {
        /// 0 to 1.
        fraction: f32,
    },
    /// A snapshot is looked for, read and proved.
    Checking,
    /// The text is being read.
    Reading {
        /// Tokens decoded.
        done: u32,
        /// Tokens to decode.
        of: u32,
        /// Why no snapshot is used, where there is something to say.
        reason: Option<Reason>,
    },
}

/// How an opening ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Opening {
    /// The next message can be answered at once.
    Ready {
        /// The last message that is in the KV cache.
        node: NodeId,
        /// What was done for it, and when; `None` where it was ready already.
        resumed: Option<(Timestamp, Receipt)>,
    },
    /// Nothing was done.
    NotYet(NotYet),
    /// It was stopped, or something else took its place. What was read stays in the KV cache.
    Stopped,
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYet {
    /// An answer is being written.
    Busy,
    /// No model is loaded.
    NotLoaded,
    /// Another model is loaded, or the same one in another way.
    OtherModel,
    /// There is nothing to be ready for: nothing was answered yet.
    Nothing,
}

/// The opening that goes on, if any: there is one at a time.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    /// Held for one look-up.
    current: Arc<Mutex<Current>>,
}

#[derive(Debug, Default)]
struct Current {
    opening: Option<(ConversationId, watch::Sender<bool>)>,
    /// How many there were: tells an opening from the one that took its place.
    number: u64,
}

/// An opening, until it is dropped.
struct Underway {
    current: Arc<Mutex<Current>>,
    number: u64,
    stopped: watch::Receiver<bool>,
}

fn lock(current: &Mutex<Current>) -> MutexGuard<'_, Current> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Openings {
    /// Begins one; the one before ends soon.
    fn begin(&self, conversation: ConversationId) -> Underway {
        let (stop, stopped) = watch::channel(false);
        let mut current = lock(&self.current);
        if let Some((_, before)) = current.opening.replace((conversation, stop)) {
            before.send_replace(true);
        }
        current.number += 1;
        Underway { current: Arc::clone(&self.current), number: current.number, stopped }
    }

    /// Ends the one that goes on, if it is of another conversation.
    pub(crate) fn give_way(&self, to: ConversationId) {
        self.stop_where(|conversation| conversation != to);
    }

    /// Ends the one that goes on.
    pub(crate) fn stop_any(&self) {
        self.stop_where(|_| true);
    }

    fn stop_where(&self, is_meant: impl Fn(ConversationId) -> bool) -> bool {
        match &lock(&self.current).opening {
            Some((conversation, stop)) if is_meant(*conversation) => {
                stop.send_replace(true);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut current = lock(&self.current);
        if current.number == self.number {
            current.opening = None;
        }
    }
}

/// A conversation that is being opened.
struct Subject {
    conversation: Conversation,
    /// The branch that is shown.
    path: Vec<Message>,
    /// Its last message.
    leaf: NodeId,
    /// Tokens of it that were computed before, as far as is known.
    computed: usize,
    states: StateUse,
}

impl Chat {
    /// Ends the opening of a conversation soon. False where there is none.
    pub fn stop_opening(&self, conversation: ConversationId) -> bool {
        self.openings.stop_where(|opened| opened == conversation)
    }

    /// Makes a conversation ready for its next message. Events are dropped where nobody reads them.
    pub async fn open(
        &self,
        mut request: OpenRequest,
        events: mpsc::Sender<OpenEvent>,
    ) -> Result<Opening, ChatError> {
        let underway = self.openings.begin(request.conversation);
        let mut stopped = underway.stopped.clone();
        if self.open.any() {
            return Ok(Opening::NotYet(NotYet::Busy));
        }
        // What holds it is the opening before, or is done in a pause: both make way.
        self.wanted.notify_waiters();
        let mut turn = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(Opening::Stopped),
            turn = self.turn.lock() => turn,
        };
        self.wanted.notify_waiters();
        let _at_the_end = Ring(&self.pause);
        let Some(subject) = self.subject(&mut request).await? else {
            return Ok(Opening::NotYet(NotYet::Nothing));
        };
        if request.trigger == Trigger::Opened
            && let Some(why) = self.is_not_there(&request).await
        {
            return Ok(Opening::NotYet(why));
        }
        self.before_turn(&mut turn, request.conversation).await;
        let action = Action::Open(request.conversation);
        loop {
            match self.open_once(&request, &subject, &mut turn, &events, &underway.stopped).await {
                Ok(opening) => {
                    self.deaths().lived(&action);
                    return Ok(opening);
                }
                Err(ChatError::Engine { error: EngineError::Fault(Fault::Cancelled), .. }) => {
                    return Ok(Opening::Stopped);
                }
                Err(ChatError::Engine { error: EngineError::Fault(Fault::PromptEmpty), .. }) => {
                    return Ok(Opening::NotYet(NotYet::Nothing));
                }
                // A snapshot that took the engine with it is quarantined: the text is read instead.
                Err(ChatError::Engine {
                    error: EngineError::Died(_) | EngineError::Fault(Fault::NotLoaded),
                    ..
                }) if self.deaths().died(action.clone()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `None` where there is nothing to be ready for. An answer without a word is none.
    async fn subject(&self, request: &mut OpenRequest) -> Result<Option<Subject>, ChatError> {
        let id = request.conversation;
        let (conversation, path, choices, was_opened) = self
            .library
            .with(move |w| {
                let path = w.active_path(id)?;
                let latest: Vec<NodeId> =
                    path.iter().rev().take(LOOKED_BACK).map(|message| message.id).collect();
                let was_opened = !w.receipts_of(&latest)?.is_empty();
                Ok((w.conversation(id)?, path, w.choices(id)?, was_opened))
            })
            .await?;
        if choices.always_cpu {
            request.load.offload = None;
        }
        let is_answered =
            path.iter().any(|message| message.role == Role::Assistant && !message.text.trim().is_empty());
        let leaf = path.last().map(|message| message.id);
        let Some(leaf) = leaf.filter(|_| is_answered && conversation.trashed_at.is_none()) else {
            return Ok(None);
        };
        let states = StateUse::of(request.snapshots, choices);
        let states = if request.trigger == Trigger::Replay { states.replaying() } else { states };
        // Messages from elsewhere have no tokens of their own until they are answered.
        let tokens = |message: &Message| match &message.tokens {
            Some(tokens) => tokens.ids.len(),
            None if was_opened => estimate(&message.text) as usize,
            None => 0,
        };
        let computed = path.iter().map(tokens).sum();
        Ok(Some(Subject { conversation, path, leaf, computed, states }))
    }

    /// Why the model that would answer is not the loaded one, if it is not.
    async fn is_not_there(&self, request: &OpenRequest) -> Option<NotYet> {
        let loaded = self.engine.status().borrow().loaded.clone();
        let Some(loaded) = loaded else { return Some(NotYet::NotLoaded) };
        let Ok(spec) = spec_of(&request.model, &request.load) else { return Some(NotYet::OtherModel) };
        let spec: LoadSpec = self.placed(spec).await;
        // A file that was replaced is another model.
        let fits = loaded.spec == spec && self.is_as_loaded(&spec.model).await;
        (!fits).then_some(NotYet::OtherModel)
    }

    async fn open_once(
        &self,
        request: &OpenRequest,
        subject: &Subject,
        turn: &mut Option<Unsaved>,
        events: &mpsc::Sender<OpenEvent>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<Opening, ChatError> {
        let (told, mut heard) = mpsc::channel(16);
        let passing_on = async {
            while let Some(event) = heard.recv().await {
                if let TurnEvent::Loading { fraction } = event {
                    // Here and below: nobody may listen.
                    let _ = events.send(OpenEvent::Loading { fraction }).await;
                }
            }
        };
        let loading = async {
            let told = told;
            self.ensure_loaded(&request.model, &request.load, &told, stopped, false).await
        };
        let reading =
            async { Ok(self.read_ahead(&request.model, &request.load, subject.states, &subject.path).await) };
        let (brought, ()) = tokio::join!(async { tokio::try_join!(loading, reading) }, passing_on);
        let (load_ms, ahead) = brought?;
        let failed = |error| ChatError::Engine { error, message_kept: false };
        self.make_ready(subject, turn, ahead, load_ms, events, stopped).await?.map_err(failed)
    }

    /// The engine's error is the inner one.
    async fn make_ready(
        &self,
        subject: &Subject,
        turn: &mut Option<Unsaved>,
        ahead: Option<Ahead>,
        load_ms: Option<f64>,
        events: &mpsc::Sender<OpenEvent>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<Result<Opening, EngineError>, ChatError> {
        let Subject { conversation, path, leaf, computed, states } = subject;
        let loaded = self.engine.status().borrow().loaded.clone();
        let Some(loaded) = loaded else { return Ok(Err(Fault::NotLoaded.into())) };
        let known = prompt::known(path, &loaded.info.token_identity);
        let spec = GenerateSpec {
            messages: prompt::messages(path),
            known: known.tokens.clone(),
            sampling: SamplingOptions::default().resolve(0),
            max_tokens: None,
            stop: Vec::new(),
            began: i64::try_from(conversation.created.as_millis() / 1000).unwrap_or(0),
            also_known: self.also_known(conversation.id, path, &known, states.keeps()).await,
            checkpoint: false,
            reading: true,
        };
        let _ = events.send(OpenEvent::Checking).await;
        let mut stop = stopped.clone();
        let ready = tokio::select! {
            biased;
            ready = self.get_ready(conversation.id, *computed, *states, ahead, &spec, &loaded) => ready,
            // What is on trial is never used.
            _ = stop.wait_for(|stopped| *stopped) => return Ok(Ok(Opening::Stopped)),
        };
        let Ready { resumption, footing, .. } = match ready {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(error)),
        };
        let replayed = resumption.path == Some(ResumePath::Replayed);
        let reason = resumption.reason.clone().filter(|_| replayed);
        let read = match self.read(spec, reason, events, stopped).await {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let (prepared, finished) = read;
        self.learn_pace(footing.as_ref(), prepared.as_ref(), &finished);
        self.learn_load(footing.as_ref(), load_ms);
        if *stopped.borrow() && prepared.as_ref().is_none_or(|p| finished.prefill_tokens < p.to_decode) {
            return Ok(Ok(Opening::Stopped));
        }
        let (receipt, _) = account(&resumption, prepared.as_ref(), &finished);
        if replayed || receipt.tokens_decoded >= SHORTEST {
            let asked = path.iter().rev().find(|message| message.role == Role::User);
            let whose =
                Whose { conversation: conversation.id, node: *leaf, asked: asked.map_or(*leaf, |m| m.id) };
            // Nobody waits for it.
            drop(self.keep_state(turn, whose, footing, loaded.info, *states).await);
        }
        // What is live already, or nearly so, is nothing to tell.
        let is_told = matches!(receipt.path, ResumePath::Restored | ResumePath::Replayed)
            || receipt.tokens_decoded >= SHORTEST;
        let resumed = if is_told { Some((self.keep_receipt(*leaf, &receipt).await, receipt)) } else { None };
        Ok(Ok(Opening::Ready { node: *leaf, resumed }))
    }

    /// Reads what is not in the KV cache yet.
    async fn read(
        &self,
        spec: GenerateSpec,
        reason: Option<Reason>,
        events: &mpsc::Sender<OpenEvent>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<(Option<Prepared>, Finished), EngineError> {
        let mut generation = self.engine.generate(spec, stopped.clone()).await?;
        let mut prepared: Option<Prepared> = None;
        loop {
            match generation.next().await {
                GenerationEvent::Prepared(found) => prepared = Some(found),
                GenerationEvent::Prefill { done } => {
                    let of = prepared.as_ref().map_or(done, |found| found.to_decode);
                    let _ = events.send(OpenEvent::Reading { done, of, reason: reason.clone() }).await;
                }
                GenerationEvent::Piece { .. } => {}
                GenerationEvent::Ended(finished) => return Ok((prepared, finished?)),
            }
        }
    }

    /// Keeps how a conversation was made ready, with the message at which it was; gives the moment.
    async fn keep_receipt(&self, node: NodeId, receipt: &Receipt) -> Timestamp {
        let at = self.world.now();
        if let Ok(value) = serde_json::to_value(receipt) {
            let kept = self.library.with(move |w| w.keep_receipt(node, at, &value)).await;
            if let Err(error) = kept {
                // It is shown all the same, and missing only after the next start.
                tracing::warn!(code = error.code(), "the receipt of an opening was not kept");
            }
        }
        at
    }
}
