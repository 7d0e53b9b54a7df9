//! What going on with a conversation will cost, before it is done: whether it opens at once, what reading it takes,
//! what writing a message anew or changing the model means. Estimates and hints, from what is kept; nothing is read
//! or proved for them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use reprise_engine::Loaded;
use reprise_engine::message::LoadSpec;
use reprise_store::{Brief, Conversation, ConversationId, Message, NodeId, Role, SnapshotState, StoreError};

use crate::pace::Pace;
use crate::receipt::Reason;
use crate::resume::{SHORTEST, differs, identity_of, reason};
use crate::token_count::estimate;
use crate::turn::spec_of;
use crate::{Chat, LoadOptions, Snapshots, identity, qualification};

/// Conversations that are looked at at once, at most: what is more no screen shows.
const MOST_MARKS: usize = 200;

/// Whether a conversation opens at once, as far as can be told without reading its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The conversation.
    pub conversation: ConversationId,
    /// Whether a snapshot of it, or what is live, fits the model and settings that would answer now.
    pub instant: bool,
    /// Where it does not: why.
    pub reason: Option<Reason>,
}

/// What it will cost to go on with a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// Tokens of the branch that is shown; estimated from the text where they were never counted.
    pub tokens: u32,
    /// Reading all of them, in milliseconds; `None` where no pace was measured yet.
    pub replay_ms: Option<f64>,
    /// Whether it opens at once.
    pub mark: Mark,
    /// What writing a message anew means, for each message of the person.
    pub edits: Vec<EditCost>,
    /// Set where another model than the chosen one wrote the last answer.
    pub crossing: Option<Crossing>,
}

/// What has to be read when a message is written anew.
#[derive(Debug, Clone, PartialEq)]
pub struct EditCost {
    /// The message.
    pub message: NodeId,
    /// Tokens to read, the message's own included.
    pub tokens: u32,
    /// Reading them, in milliseconds; `None` where no pace was measured.
    pub ms: Option<f64>,
}

/// The two models between which a conversation stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Crossing {
    /// The one that wrote the last answer.
    pub before: Side,
    /// The chosen one.
    pub now: Side,
}

/// Going on with one of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// The GGUF file.
    pub path: String,
    /// Name for people.
    pub name: String,
    /// Loading it, in milliseconds; 0 where it is loaded, `None` where that was never measured.
    pub load_ms: Option<f64>,
    /// Whether a snapshot fits it.
    pub instant: bool,
    /// Getting ready once it is loaded, in milliseconds; `None` where nothing was measured.
    pub ready_ms: Option<f64>,
}

/// A model that would answer, as far as it is known without loading it.
struct Answerer {
    /// Content hash of its files; `None` where nobody has computed it yet.
    hash: Option<String>,
    /// What a state's identity must say; of a model that is not loaded only what is known before.
    identity: BTreeMap<String, String>,
    /// Set where it is loaded just so.
    loaded: Option<Loaded>,
    /// Why none of its states are used, where that was found out.
    unqualified: Option<String>,
    pace: Pace,
}

impl Answerer {
    /// Whether states are trimmed to any beginning of theirs; taken to be so where nobody knows yet.
    fn can_trim(&self) -> bool {
        self.loaded.as_ref().is_none_or(|loaded| loaded.info.cache.can_trim())
    }

    fn reading_ms(&self, tokens: u32) -> Option<f64> {
        self.pace.prefill.map(|rate| f64::from(tokens) / rate)
    }

    /// Why a state is not one of this model with these settings, if it is not.
    fn refuses(&self, brief: &Brief) -> Option<Reason> {
        if let SnapshotState::Quarantined { why } = &brief.state {
            let (code, why) = why.split_once(": ").unwrap_or(("challenge", why));
            return Some(reason(code, why));
        }
        if brief.n_tokens < SHORTEST {
            return Some(reason("too_short", "so short a conversation is read faster than it is restored"));
        }
        let differing = self.identity.iter().find(|(name, value)| brief.identity.get(*name) != Some(*value));
        differing.map(|(name, _)| differs(name))
    }
}

/// What is asked of the library for one mark.
struct Place {
    conversation: ConversationId,
    always_replay: bool,
    /// Messages at whose end a state holds all that is shown: the last one, and where that is a question, the one
    /// before.
    ends: Vec<NodeId>,
}

impl Chat {
    /// Whether these conversations open at once with this model, loaded in this way. At most
    /// 200 are looked at; one that is gone is left out.
    pub async fn marks(
        &self,
        ids: Vec<ConversationId>,
        model: &Path,
        load: &LoadOptions,
    ) -> Result<Vec<Mark>, StoreError> {
        let mut ids = ids;
        ids.truncate(MOST_MARKS);
        let Some(snapshots) = &self.snapshots else {
            let why = self.no_cache();
            let mark = |conversation| Mark { conversation, instant: false, reason: Some(why.clone()) };
            return Ok(ids.into_iter().map(mark).collect());
        };
        let answerer = self.answerer(snapshots, model, load).await;
        self.marks_of(snapshots, &answerer, ids).await
    }

    /// What going on with a conversation costs, with this model loaded in this way.
    pub async fn outlook(
        &self,
        id: ConversationId,
        model: &Path,
        load: &LoadOptions,
    ) -> Result<Outlook, StoreError> {
        let (conversation, path, choices) =
            self.library.with(move |w| Ok((w.conversation(id)?, w.active_path(id)?, w.choices(id)?))).await?;
        let counts: Vec<u32> = path.iter().map(tokens_of).collect();
        let tokens = counts.iter().sum();
        let mut load = load.clone();
        if choices.always_cpu {
            load.offload = None;
        }
        let Some(snapshots) = &self.snapshots else {
            let mark = Mark { conversation: id, instant: false, reason: Some(self.no_cache()) };
            let edits = edits(&path, &counts, true, &Pace::default());
            return Ok(Outlook { tokens, replay_ms: None, mark, edits, crossing: None });
        };
        let answerer = self.answerer(snapshots, model, &load).await;
        let mark = self.mark_of(snapshots, &answerer, id).await?;
        // Without a state even what stands before the message is read.
        let keeps_before = answerer.can_trim() && mark.instant;
        Ok(Outlook {
            tokens,
            replay_ms: answerer.reading_ms(tokens),
            edits: edits(&path, &counts, keeps_before, &answerer.pace),
            crossing: self.crossing(snapshots, &conversation, &path, model, &load, &answerer, &mark).await?,
            mark,
        })
    }

    fn no_cache(&self) -> Reason {
        match &self.snapshots_off {
            Some(_) => reason("snapshots_unusable", "the file of snapshots cannot be opened"),
            None => reason("disabled", "snapshots are switched off"),
        }
    }

    async fn answerer(&self, snapshots: &Snapshots, model: &Path, load: &LoadOptions) -> Answerer {
        let hash = snapshots.known_model_hash(model).await;
        let status = self.engine.status().borrow().clone();
        let spec = spec_of(model, load).ok();
        // It may have been put elsewhere than asked for: the place changes nothing of the identity.
        let is_same = |loaded: &Loaded| {
            let asked = |spec: &LoadSpec| LoadSpec { offload: None, ..spec.clone() };
            spec.as_ref().is_some_and(|spec| asked(spec) == asked(&loaded.spec))
        };
        let loaded = status.loaded.filter(is_same);
        let mut known = BTreeMap::new();
        let mut unqualified = None;
        if let (Some(hash), Some(spec)) = (&hash, &spec) {
            if let (Some(loaded), Some(hello)) = (&loaded, &status.worker) {
                known = identity_of(hello, &loaded.spec, &loaded.info, hash);
                let name = qualification::name(hello, &loaded.spec, hash);
                let found = snapshots.qualification(&name).await;
                unqualified = found.filter(qualification::Qualification::has_failed).and_then(|q| q.why);
            } else {
                let names = identity::known_before_loading(spec, hash);
                known = names.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            }
        }
        let pace = match &hash {
            Some(hash) => snapshots.known_pace(hash).await,
            None => Pace::default(),
        };
        Answerer { hash, identity: known, loaded, unqualified, pace }
    }

    async fn mark_of(
        &self,
        snapshots: &Snapshots,
        answerer: &Answerer,
        id: ConversationId,
    ) -> Result<Mark, StoreError> {
        let mark = self.marks_of(snapshots, answerer, vec![id]).await?.pop();
        Ok(mark.unwrap_or_else(|| Mark { conversation: id, instant: false, reason: Some(none()) }))
    }

    async fn marks_of(
        &self,
        snapshots: &Snapshots,
        answerer: &Answerer,
        ids: Vec<ConversationId>,
    ) -> Result<Vec<Mark>, StoreError> {
        let asked = ids.clone();
        let briefs = snapshots.with(move |store| store.briefs(&asked)).await?;
        let mut of: HashMap<ConversationId, Vec<Brief>> = HashMap::new();
        for brief in briefs {
            of.entry(brief.conversation).or_default().push(brief);
        }
        let can_trim = answerer.can_trim();
        let (places, of) = self
            .library
            .with(move |w| {
                let mut places = Vec::with_capacity(ids.len());
                for id in ids {
                    // It may have been erased a moment ago.
                    let Ok(conversation) = w.conversation(id) else { continue };
                    let mut ends: Vec<NodeId> = conversation.active_leaf.into_iter().collect();
                    if let Some(leaf) = conversation.active_leaf {
                        let last = w.message(leaf)?;
                        ends.extend(last.parent.filter(|_| last.role == Role::User));
                        if can_trim {
                            // A state of a later message holds the earlier ones too.
                            for brief in of.get(&id).into_iter().flatten() {
                                let is_behind = !ends.contains(&brief.node)
                                    && w.path_to(brief.node)
                                        .is_ok_and(|path| path.iter().any(|m| m.id == leaf));
                                ends.extend(is_behind.then_some(brief.node));
                            }
                        }
                    }
                    let always_replay = w.choices(id)?.always_replay;
                    places.push(Place { conversation: id, always_replay, ends });
                }
                Ok((places, of))
            })
            .await?;
        let live = *self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let live = live.filter(|_| answerer.loaded.is_some());
        let mark = |place: Place| {
            let briefs = of.get(&place.conversation).map_or(&[][..], Vec::as_slice);
            let why = if live == Some(place.conversation) { None } else { why_not(&place, briefs, answerer) };
            Mark { conversation: place.conversation, instant: why.is_none(), reason: why }
        };
        Ok(places.into_iter().map(mark).collect())
    }

    #[expect(clippy::too_many_arguments, reason = "one caller; it is its last part")]
    async fn crossing(
        &self,
        snapshots: &Snapshots,
        conversation: &Conversation,
        path: &[Message],
        model: &Path,
        load: &LoadOptions,
        answerer: &Answerer,
        mark: &Mark,
    ) -> Result<Option<Crossing>, StoreError> {
        let is_answered = path.iter().any(|m| m.role == Role::Assistant && !m.text.trim().is_empty());
        let before = conversation.model.as_ref().filter(|_| is_answered);
        let Some(before) = before.filter(|before| Path::new(&before.path) != model) else { return Ok(None) };
        let other = self.answerer(snapshots, Path::new(&before.path), load).await;
        let others = self.mark_of(snapshots, &other, conversation.id).await?;
        let tokens = path.iter().map(tokens_of).sum();
        let name = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let now = self.side(snapshots, model.display().to_string(), name, answerer, mark, tokens).await?;
        let before =
            self.side(snapshots, before.path.clone(), before.name.clone(), &other, &others, tokens).await?;
        Ok(Some(Crossing { before, now }))
    }

    async fn side(
        &self,
        snapshots: &Snapshots,
        path: String,
        name: String,
        answerer: &Answerer,
        mark: &Mark,
        tokens: u32,
    ) -> Result<Side, StoreError> {
        let load_ms = if answerer.loaded.is_some() { Some(0.0) } else { answerer.pace.load_ms };
        let id = mark.conversation;
        let ready_ms = if mark.instant {
            let briefs = snapshots.with(move |store| store.briefs(&[id])).await?;
            let bytes =
                briefs.iter().find(|brief| answerer.refuses(brief).is_none()).map(|brief| brief.bytes);
            match (bytes, answerer.pace.restore) {
                (Some(bytes), Some(rate)) => {
                    Some(bytes as f64 / rate + answerer.pace.challenge_ms.unwrap_or(0.0))
                }
                _ => None,
            }
        } else {
            answerer.reading_ms(tokens)
        };
        Ok(Side { path, name, load_ms, instant: mark.instant, ready_ms })
    }
}

fn none() -> Reason {
    reason("no_snapshot", "there is no snapshot of this conversation")
}

/// Why a conversation does not open at once; `None` where it does.
fn why_not(place: &Place, briefs: &[Brief], answerer: &Answerer) -> Option<Reason> {
    if place.always_replay {
        return Some(crate::state_use::StateUse::AlwaysReplay.why_not());
    }
    if let Some(why) = &answerer.unqualified {
        return Some(reason("unqualified", format!("states of this model do not survive here: {why}")));
    }
    if answerer.hash.is_none() && !briefs.is_empty() {
        return Some(reason("not_loaded", "the model was not loaded since its file was chosen or changed"));
    }
    let mut why = None;
    for brief in briefs {
        match answerer.refuses(brief) {
            None if place.ends.contains(&brief.node) => return None,
            None => {
                let other = "the conversation before this point is not the one that was saved";
                why.get_or_insert_with(|| reason("tokens", other));
            }
            Some(refusal) => {
                why.get_or_insert(refusal);
            }
        }
    }
    Some(why.unwrap_or_else(none))
}

/// Tokens of a message: counted where it was computed once, else estimated.
fn tokens_of(message: &Message) -> u32 {
    let counted = message.tokens.as_ref().map(|tokens| tokens.ids.len());
    counted.map_or_else(|| estimate(&message.text), |n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// `keeps_before`: what stands before the message need not be read again.
fn edits(path: &[Message], counts: &[u32], keeps_before: bool, pace: &Pace) -> Vec<EditCost> {
    let mut before = 0;
    let mut edits = Vec::new();
    for (message, own) in path.iter().zip(counts) {
        if message.role == Role::User {
            let tokens = if keeps_before { *own } else { before + own };
            let ms = pace.prefill.map(|rate| f64::from(tokens) / rate);
            edits.push(EditCost { message: message.id, tokens, ms });
        }
        before += own;
    }
    edits
}
