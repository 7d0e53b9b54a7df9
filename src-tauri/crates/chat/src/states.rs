//! Where a turn meets the cache of states: before the answer and after it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reprise_engine::message::{Finished, GenerateSpec, ModelInfo, Prepared, TokenId};
use reprise_engine::state::{Checkpoint, Exported, PromptTokens};
use reprise_engine::{EngineError, Loaded};
use reprise_store::{ConversationId, Message, NodeId, SnapshotId, StoreError, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::challenge;
use crate::checkpoints;
use crate::deaths::Action;
use crate::not_saved::StateKept;
use crate::pace::Pace;
use crate::prompt::{self, Known};
use crate::qualification::{self, Beside, Qualification};
use crate::receipt::Reason;
use crate::request::Saving;
use crate::resume::{self, Ahead, Moment, Resumption, SHORTEST, reason};
use crate::saving::{self, Subject};
use crate::snapshots::{Snapshots, new_id};
use crate::state_use::StateUse;
use crate::turn::spec_of;
use crate::{Chat, Library, LoadOptions, NotSaved, ResumePath, SavedState, TurnEvent};

/// An export that is expected to take longer waits for a pause of the person, in milliseconds.
const LONG_EXPORT_MS: f64 = 250.0;
/// What is taken for a pause.
const PAUSE: Duration = Duration::from_secs(2);
/// The share of the time to the first token by which a state within the prompt may put it off.
const LARGEST_SHARE: f64 = 0.03;
/// What follows a state within the prompt is read again to prove it, and holds the engine up: at most so many tokens.
const LONGEST_PROOF: u32 = 256;
/// Messages whose states are looked for.
pub(crate) const LOOKED_BACK: usize = 8;
/// Prompts shorter than this say nothing of the pace: starting weighs more than reading.
const TELLING: u32 = 64;

/// What identifies the states of the loaded model.
#[derive(Debug, Clone)]
pub(crate) struct Footing {
    identity: BTreeMap<String, String>,
    /// Content hash of the model.
    model: String,
    /// Under which name it is kept whether states survive here.
    qualification: String,
    /// Whether that was found out, and they do.
    is_qualified: bool,
}

/// How an answer begins.
pub(crate) struct Ready {
    pub(crate) resumption: Resumption,
    pub(crate) footing: Option<Footing>,
    /// Whether a state is to be taken within the prompt.
    pub(crate) checkpoint: bool,
}

/// What a state belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose {
    pub(crate) conversation: ConversationId,
    /// The message at whose end it is.
    pub(crate) node: NodeId,
    /// The message that was answered: a state within the prompt belongs to it.
    pub(crate) asked: NodeId,
}

/// A state that is live, and is to be kept when the person pauses or turns to something else.
#[derive(Debug)]
pub(crate) struct Unsaved {
    conversation: ConversationId,
    node: NodeId,
    /// The message that was answered: a state within the prompt belongs to it.
    asked: NodeId,
    footing: Footing,
    info: ModelInfo,
    /// When its answer ended.
    since: Instant,
    saved: oneshot::Sender<Result<SavedState, NotSaved>>,
}

impl Unsaved {
    pub(crate) fn is_of(&self, conversation: ConversationId) -> bool {
        self.conversation == conversation
    }
}

/// States on their way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Underway {
    /// Held by the one that is being written: one after the other.
    line: Arc<tokio::sync::Mutex<()>>,
    /// Guards the tasks that were not waited for yet; held for one look-up.
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Underway {
    fn tasks(&self) -> MutexGuard<'_, Vec<tokio::task::JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, task: tokio::task::JoinHandle<()>) {
        let mut tasks = self.tasks();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    async fn all_done(&self) {
        let tasks = std::mem::take(&mut *self.tasks());
        for task in tasks {
            // One that panicked is done too.
            let _ = task.await;
        }
    }
}

impl Chat {
    /// Keeps states in this cache from now on, and resumes from it.
    #[must_use]
    pub fn with_snapshots(mut self, snapshots: Snapshots) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// Never waits for a pause before a state is kept: for callers who wait for it to be.
    #[must_use]
    pub fn saving_at_once(mut self) -> Self {
        self.patient = false;
        self
    }

    /// Does without a cache of states, because of this: what is asked to be kept is refused, and said.
    #[must_use]
    pub fn without_snapshots(mut self, why: &StoreError) -> Self {
        let message = format!("Snapshots cannot be opened. {why}");
        self.snapshots_off = Some(NotSaved { message, ..why.into() });
        self
    }

    /// Hears from now on of states that are not kept, each cause once until it is gone. The last caller
    /// is told.
    #[must_use]
    pub fn not_saved(&self) -> mpsc::UnboundedReceiver<NotSaved> {
        self.news.listen()
    }

    /// Hears from now on of states that are kept. The last caller is told.
    #[must_use]
    pub fn states_kept(&self) -> mpsc::UnboundedReceiver<StateKept> {
        self.news.listen_to_kept()
    }

    /// The cache of states.
    #[must_use]
    pub fn snapshots(&self) -> Option<&Snapshots> {
        self.snapshots.as_ref()
    }

    /// Beside a model that is being loaded: reads the state that the conversation most likely resumes from,
    /// and has the model hashed. `None` where the model is loaded already.
    pub(crate) async fn read_ahead(
        &self,
        model: &Path,
        load: &LoadOptions,
        states: StateUse,
        path: &[Message],
    ) -> Option<Ahead> {
        let snapshots = self.snapshots.as_ref().filter(|_| states.restores())?;
        let spec = self.placed(spec_of(model, load).ok()?).await;
        if self.has_loaded(&spec) {
            return None;
        }
        // It takes long the first time, and is needed whether or not anything is read.
        let model = snapshots.model_hash(&spec.model).await?;
        let conversation = path.last()?.conversation;
        // The tokeniser is not known yet; what it made last is taken to be its work.
        let latest = path.iter().rev().find_map(|message| message.tokens.as_ref())?;
        let known = prompt::known(path, &latest.identity).tokens;
        let tokens = known.iter().map(|token| token.0).collect();
        resume::read_ahead(&self.engine, snapshots, conversation, tokens, &spec, &model).await
    }

    /// Gets the context ready for an answer, and says how.
    pub(crate) async fn get_ready(
        &self,
        conversation: ConversationId,
        known: usize,
        states: StateUse,
        mut ahead: Option<Ahead>,
        spec: &GenerateSpec,
        loaded: &Loaded,
    ) -> Result<Ready, EngineError> {
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        let began = Instant::now();
        if states == StateUse::ReplayAsked {
            self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.engine.discard().await?;
        }
        let mut prompt = resume::prepare(&self.engine, spec).await?;
        // Until it is ready the context is nobody's: whoever is stopped on the way leaves it behind so.
        let own = self.live.lock().unwrap_or_else(PoisonError::into_inner).take() == Some(conversation);
        if !own && prompt.live_total > 0 {
            // Another conversation's beginning may be the same, but was computed in other batches.
            prompt.live = 0;
        }
        let (resumption, footing) =
            self.ready(conversation, known, states, &mut ahead, (spec, &prompt), loaded, began).await?;
        let other_is_live = prompt.live == 0 && prompt.live_total > 0;
        // What was read ahead in vain goes too: a state weighs as much as the context.
        if (other_is_live || ahead.is_some()) && resumption.path != Some(ResumePath::Restored) {
            self.engine.discard().await?;
        }
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(conversation);
        let checkpoint = !spec.reading
            && self.is_worth_a_checkpoint(conversation, footing.as_ref(), &prompt, resumption.reused);
        Ok(Ready { resumption, footing, checkpoint })
    }

    /// Whether a state is taken within a prompt that the next turn can use whatever is answered: where states cannot
    /// be trimmed, and where the answer begins hardly later for it. What is cheap to read is read again.
    fn is_worth_a_checkpoint(
        &self,
        conversation: ConversationId,
        footing: Option<&Footing>,
        prompt: &PromptTokens,
        reused: u32,
    ) -> bool {
        let at = prompt.keeps;
        let (Some(snapshots), Some(footing)) = (&self.snapshots, footing) else { return false };
        let rest = u32::try_from(prompt.tokens.len()).unwrap_or(u32::MAX).saturating_sub(at);
        if !footing.is_qualified || at < SHORTEST || at <= reused || rest > LONGEST_PROOF {
            return false;
        }
        let pace = snapshots.pace(&footing.model);
        let sizes = self.state_sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = sizes.get(&conversation).or_else(|| sizes.values().max()).copied();
        match (bytes, pace.export, pace.prefill) {
            (Some(bytes), Some(export), Some(prefill)) => {
                let read = prompt.tokens.len() as f64 - f64::from(reused);
                bytes as f64 / export <= LARGEST_SHARE * read / prefill
            }
            // Nothing is known yet: a copy is cheap beside reading so much.
            _ => at - reused >= SHORTEST,
        }
    }

    /// The tokens of the latest state of these messages, where those that are kept with the messages do not cover them:
    /// what a template wrote anew, or an answer that is no whole text, was tokenised for that state.
    pub(crate) async fn also_known(
        &self,
        conversation: ConversationId,
        path: &[Message],
        known: &Known,
        wanted: bool,
    ) -> Vec<TokenId> {
        let Some(snapshots) = self.snapshots.as_ref().filter(|_| wanted && !known.complete) else {
            return Vec::new();
        };
        let nodes: Vec<NodeId> = path.iter().rev().take(LOOKED_BACK).map(|message| message.id).collect();
        let found = snapshots.with(move |store| store.latest_tokens(conversation, &nodes)).await;
        // They only save work.
        let tokens = found.ok().flatten().unwrap_or_default();
        tokens.into_iter().map(TokenId).collect()
    }

    /// Whoever stops an answer before it was ready gets none of it.
    pub(crate) fn stopped_before_ready() -> Ready {
        let reason = Some(reason("cancelled", "it was stopped"));
        let resumption = Resumption { reason, ..Resumption::default() };
        Ready { resumption, footing: None, checkpoint: false }
    }

    #[expect(clippy::too_many_arguments, reason = "one caller; it is its second half")]
    async fn ready(
        &self,
        conversation: ConversationId,
        known: u32,
        states: StateUse,
        ahead: &mut Option<Ahead>,
        (spec, prompt): (&GenerateSpec, &PromptTokens),
        loaded: &Loaded,
        began: Instant,
    ) -> Result<(Resumption, Option<Footing>), EngineError> {
        let without = |code: &str, message: String| {
            let mut resumption = Resumption::without(prompt, known, reason(code, message));
            resumption.ms = ms(began);
            Ok((resumption, None))
        };
        if self.snapshots_off.is_some() && states.keeps() {
            return without("snapshots_unusable", "the file of snapshots cannot be opened".to_owned());
        }
        let Some(snapshots) = self.snapshots.as_ref().filter(|_| states.keeps()) else {
            let Reason { code, message, .. } = states.why_not();
            return without(&code, message);
        };
        if loaded.info.state.is_none() {
            let why = loaded.info.why_no_state.clone().unwrap_or_default();
            return without("unsupported", format!("states of this model cannot be kept yet: {why}"));
        }
        let hello = self.engine.status().borrow().worker.clone();
        let hash = snapshots.model_hash(&loaded.spec.model).await;
        let (Some(hello), Some(model)) = (hello, hash) else {
            return without("model_missing", "the model file cannot be read any more".to_owned());
        };
        if !self.is_as_loaded(&loaded.spec.model).await {
            return without("model_changed", "the model file changed while it was loaded".to_owned());
        }
        let qualification = qualification::name(&hello, &loaded.spec, &model);
        let found = snapshots.qualification(&qualification).await;
        let is_qualified = found.is_some();
        if let Some(why) = found.filter(Qualification::has_failed).and_then(|found| found.why) {
            return without("unqualified", format!("states of this model do not survive here: {why}"));
        }
        let identity = resume::identity_of(&hello, &loaded.spec, &loaded.info, &model);
        let moment = Moment {
            engine: &self.engine,
            snapshots,
            conversation,
            identity: &identity,
            model: &model,
            info: &loaded.info,
            now: self.world.now(),
            known,
            reading: spec.reading,
        };
        let mut resumption = if states.restores() {
            moment.resume(prompt, ahead).await?
        } else {
            Resumption::without(prompt, known, states.why_not())
        };
        resumption.ms = ms(began);
        Ok((resumption, Some(Footing { identity, model, qualification, is_qualified })))
    }

    /// Remembers how fast the prompt was read.
    pub(crate) fn learn_pace(
        &self,
        footing: Option<&Footing>,
        prepared: Option<&Prepared>,
        finished: &Finished,
    ) {
        let (Some(snapshots), Some(footing), Some(_)) = (&self.snapshots, footing, prepared) else { return };
        if finished.prefill_tokens >= TELLING && finished.prefill_ms > 0.0 {
            let rate = f64::from(finished.prefill_tokens) / finished.prefill_ms;
            snapshots.learn(&footing.model, |pace| Pace::learn(&mut pace.prefill, rate));
        }
    }

    /// Remembers how long the model took to load.
    pub(crate) fn learn_load(&self, footing: Option<&Footing>, load_ms: Option<f64>) {
        if let (Some(snapshots), Some(footing), Some(ms)) = (&self.snapshots, footing, load_ms) {
            snapshots.learn(&footing.model, |pace| Pace::learn(&mut pace.load_ms, ms));
        }
    }

    /// After an answer, or a text that was read: keeps its state at once, or later where copying it would hold the
    /// person up. `unsaved` is what the turn's lock guards. `None` where there is nothing to keep.
    pub(crate) async fn keep_state(
        &self,
        unsaved: &mut Option<Unsaved>,
        whose: Whose,
        footing: Option<Footing>,
        info: ModelInfo,
        states: StateUse,
    ) -> Option<Saving> {
        let Whose { conversation, node, asked } = whose;
        if let Some(why) = self.snapshots_off.clone().filter(|_| states.keeps()) {
            let result = Err(why);
            self.news.ended(conversation, &result);
            return Some(Saving::ended(result));
        }
        let (Some(snapshots), Some(footing)) = (&self.snapshots, footing) else { return None };
        let (saved, receiver) = oneshot::channel();
        let saving = Some(Saving(receiver));
        snapshots.keep_pace(&footing.model).await;
        let rate = snapshots.pace(&footing.model).export;
        let bytes = rate.map(|rate| rate * LONG_EXPORT_MS);
        let this = Unsaved { conversation, node, asked, footing, info, since: Instant::now(), saved };
        let large = match (&this.info.state, bytes) {
            (Some(_), Some(bytes)) => self.last_state_bytes(&this).is_some_and(|last| last as f64 > bytes),
            _ => false,
        };
        if let Some(before) = unsaved.take() {
            self.give_up(before, NotSaved::overtaken("A later state contains it."));
        }
        let unknown = self.unknown_yet(&this).await;
        if self.patient {
            self.unqualified.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&unknown);
        }
        if self.patient && (large || unknown.is_some()) {
            if large || must_be_known(&this) {
                *unsaved = Some(this);
            } else {
                self.export(this).await;
            }
            self.pause.notify_one();
            return saving;
        }
        if let Some(name) = unknown.filter(|_| must_be_known(&this))
            && let Err(error) = self.compare(Some(&name)).await
        {
            tracing::warn!(%error, "nothing could be found out of states");
        }
        self.export(this).await;
        saving
    }

    /// The name of the comparison that is still to be made before it is known whether states survive.
    async fn unknown_yet(&self, this: &Unsaved) -> Option<String> {
        let name = &this.footing.qualification;
        let found = self.snapshots.as_ref()?.qualification(name).await;
        found.is_none().then(|| name.clone())
    }

    /// Keeps what is still unsaved before another conversation takes its place. The next state of its own
    /// conversation will contain it; it waits, in case none comes of the turn.
    pub(crate) async fn before_turn(&self, unsaved: &mut Option<Unsaved>, next: ConversationId) {
        if let Some(this) = unsaved.take_if(|this| this.conversation != next) {
            self.export(this).await;
        }
    }

    /// Waits for pauses, and then keeps what is unsaved and finds out whether states survive, until dropped. For
    /// callers who live on after a turn.
    pub async fn save_in_pauses(&self) {
        loop {
            self.pause.notified().await;
            let mut wait = PAUSE;
            while !wait.is_zero() {
                tokio::time::sleep(wait).await;
                let mut unsaved = self.turn.lock().await;
                // A turn may have taken place meanwhile, and the pause begins anew.
                let since = unsaved.as_ref().map(|this| this.since.elapsed());
                wait = since.map_or(Duration::ZERO, |since| PAUSE.saturating_sub(since));
                if !wait.is_zero() {
                    continue;
                }
                let unknown = self.unqualified.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(this) = unsaved.take_if(|this| unknown.is_none() || !must_be_known(this)) {
                    self.export(this).await;
                }
                drop(unsaved);
                let Some(name) = unknown else { continue };
                match self.compare_unless_wanted(&name).await {
                    Beside::Compared => {
                        if let Some(this) = self.turn.lock().await.take() {
                            self.export(this).await;
                        }
                    }
                    // The turn rings at its end.
                    Beside::Wanted => {
                        self.unqualified.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(name);
                    }
                    Beside::Nothing => {}
                }
            }
        }
    }

    /// Waits until every state that is on its way is kept or given up.
    pub async fn finish_saving(&self) {
        let mut unsaved = self.turn.lock().await;
        if let Some(this) = unsaved.take() {
            self.export(this).await;
        }
        drop(unsaved);
        self.saving.all_done().await;
    }

    fn last_state_bytes(&self, this: &Unsaved) -> Option<u64> {
        let sizes = self.state_sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.get(&this.conversation).copied()
    }

    /// Copies the live state; everything else goes on beside the next turn.
    async fn export(&self, this: Unsaved) {
        let Some(snapshots) = self.snapshots.clone() else { return };
        let began = Instant::now();
        let action = Action::Keep(this.footing.model.clone());
        if self.deaths().is_too_many(&action) {
            return self.give_up(this, NotSaved::given_up());
        }
        match snapshots.qualification(&this.footing.qualification).await {
            Some(found) if found.has_failed() => {
                let why = found.why.unwrap_or_default();
                return self.give_up(this, NotSaved::disqualified(&why));
            }
            None if must_be_known(&this) => return self.give_up(this, NotSaved::not_qualified()),
            _ => {}
        }
        let mut exported = match self.engine.export().await {
            Ok(exported) => exported,
            Err(error) => {
                tracing::warn!(%error, "a state was not exported");
                if matches!(error, EngineError::Died(_)) {
                    self.deaths().died(action);
                }
                return self.give_up(this, error.into());
            }
        };
        if let Some(twice) = &exported.overwritten {
            // What was live is overwritten, and on trial.
            let settled = match challenge::is_unchanged(twice) {
                Ok(()) => self.engine.accept().await.map_err(NotSaved::from),
                Err(why) => {
                    // An engine that is lost has nothing to forget.
                    let _ = self.engine.discard().await;
                    let within = exported.checkpoint.as_ref().map(|within| within.image);
                    for image in [Some(exported.image), within].into_iter().flatten() {
                        let _ = self.engine.release(image).await;
                    }
                    Err(NotSaved::changed_by_saving(&why))
                }
            };
            if let Err(why) = settled {
                return self.give_up(this, why);
            }
        }
        self.deaths().lived(&action);
        self.note(&snapshots, &this, &exported);
        let (id, created) = new_id(self.world.as_ref());
        let Unsaved { conversation, node, asked, footing, info, saved, .. } = this;
        let within = exported.checkpoint.take().and_then(|within| self.proved(within, asked));
        let within = within.map(|(id, created, within)| {
            let identity = footing.identity.clone();
            (Subject { id, created, conversation, node: asked, identity }, within)
        });
        let subject = Subject { id, created, conversation, node, identity: footing.identity };
        let engine = self.engine.clone();
        let line = Arc::clone(&self.saving.line);
        let news = Arc::clone(&self.news);
        let library = self.library.clone();
        self.saving.add(tokio::spawn(async move {
            let _turn = line.lock().await;
            let mut result = saving::keep(&engine, &snapshots, subject, &info, exported, began).await;
            let mut is_kept = result.is_ok();
            if let Some((subject, within)) = within {
                match saving::keep(&engine, &snapshots, subject, &info, within, began).await {
                    Ok(_) => is_kept = true,
                    // The state behind the answer is the one that is told of.
                    Err(why) => tracing::warn!(code = why.code, "a state within a prompt was not kept"),
                }
            }
            if is_kept && was_erased(&library, conversation).await {
                // Its text was erased while it was on its way.
                result = match snapshots.drop_conversation(conversation).await {
                    Ok(_) => Err(NotSaved::overtaken("The conversation was erased.")),
                    Err(error) => Err(error.into()),
                };
            }
            match &result {
                Ok(_) => {
                    checkpoints::pin_needed(&library, &snapshots, conversation).await;
                    news.kept(StateKept { conversation, node, at: created });
                }
                Err(why) => tracing::warn!(code = why.code, "a state was not kept"),
            }
            news.ended(conversation, &result);
            // Whoever waits may end the program next: the files are to be closed by then.
            drop((library, snapshots, engine));
            // Nobody may wait for it.
            let _ = saved.send(result);
        }));
    }

    /// A state within a prompt as it is kept, where what follows it is what followed then.
    fn proved(&self, within: Checkpoint, asked: NodeId) -> Option<(SnapshotId, Timestamp, Exported)> {
        if let Err(why) = challenge::is_unchanged(&within.proof) {
            tracing::warn!(why, node = %asked, "a state within a prompt is not kept");
            let engine = self.engine.clone();
            tokio::spawn(async move { engine.release(within.image).await });
            return None;
        }
        let Checkpoint { image, tokens, table, fingerprints, export_ms, .. } = within;
        let (id, created) = new_id(self.world.as_ref());
        let exported = Exported {
            image,
            tokens,
            table,
            fingerprints,
            overwritten: None,
            checkpoint: None,
            export_ms,
            challenge_ms: 0.0,
        };
        Some((id, created, exported))
    }

    fn give_up(&self, this: Unsaved, why: NotSaved) {
        let result = Err(why);
        self.news.ended(this.conversation, &result);
        // Nobody may wait for it.
        let _ = this.saved.send(result);
    }

    fn note(&self, snapshots: &Snapshots, this: &Unsaved, exported: &Exported) {
        let rate = exported.table.len as f64 / exported.export_ms;
        snapshots.learn(&this.footing.model, |pace| {
            Pace::learn(&mut pace.export, rate);
            // At resuming one is asked.
            let asked = exported.fingerprints.len() + usize::from(exported.overwritten.is_some());
            Pace::learn(&mut pace.challenge_ms, exported.challenge_ms / asked.max(1) as f64);
        });
        let mut sizes = self.state_sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.insert(this.conversation, exported.table.len);
    }

    /// Tells who listens how the conversation came to be ready.
    pub(crate) async fn tell_resumed(events: &mpsc::Sender<TurnEvent>, resumption: &Resumption) {
        if let Some(path) = resumption.path {
            let told = TurnEvent::Resumed { path, reason: resumption.reason.clone() };
            // Nobody may listen.
            let _ = events.send(told).await;
        }
    }
}

/// Whether keeping its state means to overwrite what is live: then nothing is kept before it is known that this
/// is safe.
fn must_be_known(this: &Unsaved) -> bool {
    !this.info.cache.can_trim()
}

async fn was_erased(library: &Library, conversation: ConversationId) -> bool {
    let found = library.with(move |writer| writer.conversation(conversation)).await;
    matches!(found, Err(StoreError::NotFound { .. }))
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
