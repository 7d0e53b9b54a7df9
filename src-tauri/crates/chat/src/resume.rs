//! Getting ready for an answer: from the live context, from a snapshot that proves itself, or from the
//! text.
//!
//! A snapshot passes five checks, in this order, or is not used: *integrity* (its seal and every chunk are
//! what was saved), *identity* (same model, engine and settings), *tokens* (it is the beginning of this
//! very prompt), *restore* (the engine took all of it, and would give the same back), *challenge* (a
//! computation that reads it answers as it did at saving). The engine is told to set the bytes only after
//! the first three.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use reprise_engine::message::{GenerateSpec, Hello, LoadSpec, ModelInfo, TokenId};
use reprise_engine::state::{ImageTable, Pieces, PromptTokens, Region, RestoreSpec, Restored};
use reprise_engine::{EngineError, EngineHandle, Fault};
use reprise_store::{
    Candidate, ChunkToRead, ConversationId, Damage, Manifest, PREFIX_TOKENS, SnapshotId, SnapshotReader,
    SnapshotState, StoreError, Timestamp,
};
use tokio::sync::mpsc;

use crate::challenge::{self, Reference};
use crate::identity;
use crate::pace::Pace;
use crate::receipt::{Check, Reason, ResumePath};
use crate::saving::pieces;
use crate::snapshots::{Snapshots, blocking};

/// Candidates that are tried one after the other before the text is read instead.
const TRIES: usize = 3;
/// Candidates that are looked at.
const LOOKED_AT: usize = 16;
/// Threads that read and verify chunks.
const READERS: usize = 2;
/// Chunks that wait between a reader and the engine.
const AHEAD: usize = 2;

/// Taken for the pace of this machine until something was measured: reading at 200 tokens a second,
/// restoring at 500 MB a second.
const GUESSED_PREFILL: f64 = 0.2;
const GUESSED_RESTORE: f64 = 500_000.0;

/// Shorter beginnings are read anew.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
pub(crate) const SHORTEST: u32 = PREFIX_TOKENS as u32;

/// What is known when a turn begins.
pub(crate) struct Moment<'a> {
    pub(crate) engine: &'a EngineHandle,
    pub(crate) snapshots: &'a Snapshots,
    pub(crate) conversation: ConversationId,
    pub(crate) identity: &'a BTreeMap<String, String>,
    /// Content hash of the model, under which paces are kept.
    pub(crate) model: &'a str,
    pub(crate) info: &'a ModelInfo,
    pub(crate) now: Timestamp,
    /// Tokens of the conversation that were computed before.
    pub(crate) known: u32,
    /// Whether nothing is answered, so that nobody needs the logits of the last token.
    pub(crate) reading: bool,
}

/// How a conversation came to be ready.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resumption {
    pub(crate) path: Option<ResumePath>,
    pub(crate) reason: Option<Reason>,
    pub(crate) checks: Vec<Check>,
    pub(crate) bytes_read: u64,
    /// Tokens that are ready.
    pub(crate) reused: u32,
    pub(crate) ms: f64,
    pub(crate) ms_bytes: Option<f64>,
    pub(crate) ms_challenge: Option<f64>,
    pub(crate) estimated_replay_ms: Option<f64>,
}

impl Resumption {
    /// Without snapshots: from what is live, or from the text.
    pub(crate) fn without(prompt: &PromptTokens, known: u32, reason: Reason) -> Self {
        let (path, reason) = unrestored(prompt.live, known, reason);
        Self { path: Some(path), reason, reused: prompt.live, ..Self::default() }
    }
}

/// A reason by its code.
pub(crate) fn reason(code: &str, message: impl Into<String>) -> Reason {
    Reason { code: code.to_owned(), message: message.into(), field: None }
}

/// A snapshot belongs to something else.
pub(crate) fn differs(field: &str) -> Reason {
    let (field, message) = identity::in_words(field);
    Reason { code: "identity".to_owned(), message, field: Some(field.to_owned()) }
}

/// What an answer that nothing was restored for starts from, with so many tokens live.
fn unrestored(live: u32, known: u32, reason: Reason) -> (ResumePath, Option<Reason>) {
    if live > 0 {
        return (ResumePath::Live, None);
    }
    if known == 0 {
        return (ResumePath::Fresh, None);
    }
    (ResumePath::Replayed, Some(reason))
}

/// Why a candidate is not used, and what to do with it.
struct Refusal {
    reason: Reason,
    fate: Fate,
}

enum Fate {
    /// It belongs to another model, setting or text, and may be of use there.
    Keep,
    /// Nothing can be done with it.
    Drop,
    /// It was sealed and whole, and still wrong.
    Quarantine,
}

impl Moment<'_> {
    /// Gets ready for the prompt. An error means that the engine was lost.
    /// What was read ahead is taken where it is the one to use.
    pub(crate) async fn resume(
        &self,
        prompt: &PromptTokens,
        ahead: &mut Option<Ahead>,
    ) -> Result<Resumption, EngineError> {
        let began = Instant::now();
        let pace = self.snapshots.pace(self.model);
        let prefill = self.snapshots.known_pace(self.model).await.prefill;
        let mut done = Resumption {
            estimated_replay_ms: prefill.map(|rate| prompt.tokens.len() as f64 / rate),
            ..Resumption::default()
        };
        let tokens: Vec<i32> = prompt.tokens.iter().map(|token| token.0).collect();
        let mut known = self.known;
        let (candidates, mut why) = match self.candidates(&tokens).await {
            Ok(found) => {
                // What there is a state of was computed before, whatever else is known of it.
                known = found.iter().map(|candidate| candidate.n_tokens).fold(known, u32::max);
                self.worthwhile(&found, prompt, pace)
            }
            Err(error) => (Vec::new(), reason("no_snapshot", error.to_string())),
        };
        let mut live = prompt.live;
        let mut tries = 0;
        for candidate in candidates {
            if tries == TRIES {
                break;
            }
            done.checks.clear();
            let read = done.bytes_read;
            match self.attempt(&candidate, &tokens, ahead, &mut live, &mut done).await {
                Ok(()) => {
                    done.path = Some(ResumePath::Restored);
                    done.reused = candidate.common;
                    done.ms = began.elapsed().as_secs_f64() * 1000.0;
                    let (id, now) = (candidate.id, self.now);
                    // A snapshot whose use cannot be noted is evicted sooner, no more.
                    let _ = self.snapshots.with(move |store| store.touch(id, now)).await;
                    return Ok(done);
                }
                Err(Attempt::Refused(refusal)) => {
                    tracing::warn!(code = refusal.reason.code, "a snapshot was not used");
                    self.decide_fate(candidate.id, &refusal).await;
                    // One that is known not to be equal here was not tried.
                    tries += usize::from(done.bytes_read > read || !matches!(refusal.fate, Fate::Keep));
                    why = refusal.reason;
                }
                Err(Attempt::Lost { error, suspect }) => {
                    let why = "the engine was lost while it took the snapshot in";
                    let fate = if suspect { Fate::Quarantine } else { Fate::Keep };
                    let refusal = Refusal { reason: reason("engine_died", why), fate };
                    self.decide_fate(candidate.id, &refusal).await;
                    return Err(error);
                }
            }
        }
        let (path, reason) = unrestored(live, known, why);
        if path != ResumePath::Replayed {
            done.checks.clear();
        }
        done.path = Some(path);
        done.reused = live;
        done.reason = reason;
        done.ms = began.elapsed().as_secs_f64() * 1000.0;
        Ok(done)
    }

    async fn candidates(&self, tokens: &[i32]) -> Result<Vec<Candidate>, StoreError> {
        let (identity, conversation, tokens) = (self.identity.clone(), self.conversation, tokens.to_owned());
        let mut found = self
            .snapshots
            .with(move |store| store.candidates(&identity, conversation, &tokens, LOOKED_AT))
            .await?;
        // What another conversation computed of the same beginning was computed in other batches, and
        // differs in the last bits: an answer must not depend on what else was talked about.
        found.retain(|candidate| candidate.conversation == conversation);
        Ok(found)
    }

    /// The candidates that save time, the best first; and why there is none, where there is none.
    fn worthwhile(&self, found: &[Candidate], prompt: &PromptTokens, pace: Pace) -> (Vec<Candidate>, Reason) {
        let prefill = pace.prefill.unwrap_or(GUESSED_PREFILL);
        let restore = pace.restore.unwrap_or(GUESSED_RESTORE);
        // One token is left to be decoded where its logits are needed.
        let whole = u32::try_from(prompt.tokens.len()).unwrap_or(u32::MAX);
        let last = if self.reading { whole } else { whole.saturating_sub(1) };
        let mut why = None;
        let mut good = Vec::new();
        for candidate in found {
            let usable = if self.info.cache.can_trim() {
                candidate.common.min(last)
            } else if candidate.common == candidate.n_tokens && candidate.common <= last {
                candidate.common
            } else {
                0
            };
            let saved_ms = f64::from(usable.saturating_sub(prompt.live)) / prefill;
            let cost_ms = candidate.bytes as f64 / restore + pace.challenge_ms.unwrap_or(0.0);
            let against = if let SnapshotState::Quarantined { why } = &candidate.state {
                let (code, why) = why.split_once(": ").unwrap_or(("challenge", why));
                Some(reason(code, why))
            } else if candidate.n_tokens < SHORTEST {
                Some(reason("too_short", "so short a conversation is read faster than it is restored"))
            } else if let Some(field) = &candidate.identity_differs {
                Some(differs(field))
            } else if candidate.n_tokens >= self.info.n_ctx {
                Some(reason("tokens", "the state is longer than the context that is set now"))
            } else if usable < SHORTEST {
                Some(reason("tokens", "the conversation before this point is not the one that was saved"))
            } else if usable <= prompt.live {
                Some(reason("live", "what is live reaches further"))
            } else if cost_ms >= saved_ms {
                Some(reason("replay_cheaper", "reading the text is faster here than restoring the state"))
            } else {
                None
            };
            match against {
                // The first is the one that reaches furthest: its reason is the one to tell.
                Some(against) => drop(why.get_or_insert(against)),
                None => good.push(candidate.clone()),
            }
        }
        let none = || {
            if self.known < SHORTEST {
                reason("too_short", "so short a conversation is read faster than it is restored")
            } else {
                reason("no_snapshot", "there is no snapshot of this conversation")
            }
        };
        (good, why.unwrap_or_else(none))
    }

    async fn decide_fate(&self, id: SnapshotId, refusal: &Refusal) {
        let done = match refusal.fate {
            Fate::Keep => Ok(()),
            Fate::Drop => self.snapshots.with(move |store| store.drop_snapshot(id).map(drop)).await,
            Fate::Quarantine => {
                let why = format!("{}: {}", refusal.reason.code, refusal.reason.message);
                self.snapshots.with(move |store| store.quarantine(id, &why)).await
            }
        };
        if let Err(error) = done {
            tracing::warn!(%error, "a snapshot that failed could not be put away");
        }
    }

    /// Puts one snapshot through the five checks. `Ok` means that the context holds it and uses it.
    async fn attempt(
        &self,
        candidate: &Candidate,
        tokens: &[i32],
        ahead: &mut Option<Ahead>,
        live: &mut u32,
        done: &mut Resumption,
    ) -> Result<(), Attempt> {
        let began = Instant::now();
        let id = candidate.id;
        let reader = self.snapshots.reader().await.map_err(|error| damaged(done, began, &(&error).into()))?;
        let manifest = {
            let (reader, read) = blocking(move || {
                let manifest = reader.manifest(id);
                Ok((reader, manifest))
            })
            .await
            .map_err(|error| damaged(done, began, &(&error).into()))?;
            (reader, read)
        };
        let (reader, manifest) = manifest;
        let manifest = manifest.map_err(|damage| damaged(done, began, &damage))?;
        let sealed_ms = ms(began);

        let asked = Instant::now();
        let identity = check_identity(&manifest.identity, self.identity);
        let identity_ms = ms(asked);
        let asked = Instant::now();
        let common = common(&manifest.tokens, tokens);
        let tokens_ok =
            common >= SHORTEST as usize && (self.info.cache.can_trim() || common == manifest.tokens.len());
        let tokens_ms = ms(asked);
        if let Err(field) = &identity {
            done.checks.push(check("integrity", true, sealed_ms, "the seal is whole"));
            done.checks.push(check("identity", false, identity_ms, format!("{field} differs")));
            return Err(Attempt::Refused(Refusal { reason: differs(field), fate: Fate::Keep }));
        }
        let tokens_detail = format!("{common} of {} tokens", manifest.tokens.len());
        if !tokens_ok {
            done.checks.push(check("integrity", true, sealed_ms, "the seal is whole"));
            done.checks.push(check("identity", true, identity_ms, "all the same"));
            done.checks.push(check("tokens", false, tokens_ms, tokens_detail));
            let reason = reason("tokens", "the conversation before this point is not the one that was saved");
            return Err(Attempt::Refused(Refusal { reason, fate: Fate::Keep }));
        }

        let reference: Result<Reference, _> = serde_json::from_value(manifest.challenge.clone());
        let reference = reference.map_err(|error| {
            let why = error.to_string();
            damaged(done, began, &Damage::Manifest { why })
        })?;
        let state = self.info.state.clone().unwrap_or_default();
        let elsewhere = challenge::other_class(&reference.class, &state.class);
        let useless = match elsewhere {
            // What is live would be lost for a try that rarely comes out well.
            Some(name) if *live > 0 || self.snapshots.are_unequal(&reference.class, &state.class) => {
                Some(format!("it was computed with other {name}, and gives other last bits here"))
            }
            _ => challenge::require_provable(&reference, &state.class, &state.controls).err(),
        };
        if let Some(why) = useless {
            done.checks.push(check("integrity", true, sealed_ms, "the seal is whole"));
            done.checks.push(check("identity", true, identity_ms, "all the same"));
            done.checks.push(check("tokens", true, tokens_ms, tokens_detail));
            let refusal = Refusal { reason: reason("unqualified", why), fate: Fate::Keep };
            return Err(Attempt::Refused(refusal));
        }

        let reading = Instant::now();
        let manifest = Arc::new(manifest);
        let worker = worker_of(self.engine);
        let early = ahead.take_if(|ahead| worker == Some(ahead.worker) && ahead.manifest == manifest);
        if early.is_none() {
            // What arrives takes the place of what was read ahead.
            *ahead = None;
            bring(self.engine, self.snapshots, reader, &manifest).await.map_err(|error| match error {
                Brought::Damaged(damage) => damaged(done, began, &damage),
                Brought::Lost(error) => Attempt::before(error),
            })?;
        }
        let bytes_ms = early.as_ref().map_or_else(|| ms(reading), |early| early.ms);
        let chunks = manifest.chunks.len();
        done.bytes_read += manifest.layout.len;
        let when = if early.is_some() { ", read while the model was loaded" } else { "" };
        let detail = format!("{chunks} of {chunks} pieces{when}");
        done.checks.push(check("integrity", true, sealed_ms + bytes_ms, detail));
        done.checks.push(check("identity", true, identity_ms, "all the same"));
        done.checks.push(check("tokens", true, tokens_ms, tokens_detail));

        let probes = challenge::questions(&reference, &state.class, &state.controls);
        let spec = restore_spec(&manifest, &probes);
        // Whatever comes of it, the context of before is gone.
        *live = 0;
        let restored = self.engine.restore(spec).await.map_err(Attempt::during)?;
        self.conclude(&restored, &reference, done).await?;
        let ms_bytes = sealed_ms + bytes_ms + restored.restore_ms;
        done.ms_bytes = Some(ms_bytes);
        done.ms_challenge = Some(restored.challenge_ms);
        self.snapshots.learn(self.model, |pace| {
            // Beside something else it says little of the machine.
            if early.is_none() {
                Pace::learn(&mut pace.restore, manifest.layout.len as f64 / ms_bytes);
            }
            Pace::learn(&mut pace.challenge_ms, restored.challenge_ms);
        });
        Ok(())
    }

    /// Checks 4 and 5, and the word to use the state or to destroy it.
    async fn conclude(
        &self,
        restored: &Restored,
        reference: &Reference,
        done: &mut Resumption,
    ) -> Result<(), Attempt> {
        if let Some(fault) = &restored.fault {
            done.checks.push(check("restore", false, restored.restore_ms, fault));
            let reason = reason("restore", fault);
            return Err(Attempt::Refused(Refusal { reason, fate: Fate::Quarantine }));
        }
        done.checks.push(check("restore", true, restored.restore_ms, &restored.detail));
        let state = self.info.state.clone().unwrap_or_default();
        let verdict = challenge::judge(reference, &state.class, &restored.fingerprints, &state.controls);
        done.checks.push(check("challenge", verdict.passed, restored.challenge_ms, &verdict.detail));
        if verdict.passed {
            self.engine.accept().await.map_err(Attempt::during)?;
            return Ok(());
        }
        self.engine.discard().await.map_err(Attempt::before)?;
        if challenge::other_class(&reference.class, &state.class).is_some() {
            self.snapshots.found_unequal(&reference.class, &state.class);
            let refusal = Refusal { reason: reason("unqualified", verdict.detail), fate: Fate::Keep };
            return Err(Attempt::Refused(refusal));
        }
        let what =
            format!("the restored state did not answer as it did when it was saved: {}", verdict.detail);
        Err(Attempt::Refused(Refusal { reason: reason("challenge", what), fate: Fate::Quarantine }))
    }
}

/// A state that was read, verified and sent before it was known whether it will be used.
#[derive(Debug)]
pub(crate) struct Ahead {
    manifest: Arc<Manifest>,
    /// The process that holds it.
    worker: u32,
    /// What reading it took.
    ms: f64,
}

/// Reads the state of a conversation that shares most with these tokens, if it belongs to this model.
/// Whatever is wrong with it will be found again, and told, when it is to be used.
pub(crate) async fn read_ahead(
    engine: &EngineHandle,
    snapshots: &Snapshots,
    conversation: ConversationId,
    tokens: Vec<i32>,
    spec: &LoadSpec,
    model: &str,
) -> Option<Ahead> {
    let began = Instant::now();
    let reader = snapshots.reader().await.ok()?;
    let wanted = identity::known_before_loading(spec, model);
    let found = blocking(move || {
        // What else identifies it is known only once the model is loaded.
        let found = reader.candidates(&BTreeMap::new(), conversation, &tokens, LOOKED_AT)?;
        let worth = found.into_iter().filter(|found| {
            found.conversation == conversation
                && found.state == SnapshotState::Ready
                && found.common >= SHORTEST
        });
        for near in worth.take(TRIES) {
            let Ok(manifest) = reader.manifest(near.id) else { continue };
            if wanted.iter().all(|(name, value)| manifest.identity.get(*name) == Some(value)) {
                return Ok(Some((manifest, reader)));
            }
        }
        Ok(None)
    });
    let (manifest, reader) = found.await.ok()??;
    let manifest = Arc::new(manifest);
    bring(engine, snapshots, reader, &manifest).await.ok()?;
    Some(Ahead { manifest, worker: worker_of(engine)?, ms: ms(began) })
}

fn worker_of(engine: &EngineHandle) -> Option<u32> {
    engine.status().borrow().worker.as_ref().map(|worker| worker.pid)
}

/// Has every chunk read, verified and sent to the worker, which only collects them.
async fn bring(
    engine: &EngineHandle,
    snapshots: &Snapshots,
    reader: SnapshotReader,
    manifest: &Arc<Manifest>,
) -> Result<(), Brought> {
    let chunks: Vec<Pieces> =
        manifest.chunks.iter().map(|chunk| pieces(&chunk.spec, &manifest.layout)).collect();
    let damage = Arc::new(Mutex::new(None));
    let mut lanes = vec![lane(reader, manifest, 0, &damage)];
    for index in 1..READERS.min(manifest.chunks.len()) {
        let reader = snapshots.reader().await.map_err(|error| Brought::Damaged((&error).into()))?;
        lanes.push(lane(reader, manifest, index, &damage));
    }
    let (frames, source) = mpsc::channel(AHEAD);
    let count = manifest.chunks.len();
    let merged = async move {
        for index in 0..count {
            let lane = index % lanes.len();
            let Some(chunk) = lanes[lane].recv().await else { break };
            if send(&frames, chunk).await.is_err() {
                break;
            }
        }
    };
    let (received, ()) = tokio::join!(engine.receive(manifest.layout.len, chunks, source), merged);
    if let Some(damage) = damage.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(Brought::Damaged(damage));
    }
    received.map_err(Brought::Lost)
}

/// A chunk in frames that the state path takes.
async fn send(frames: &mpsc::Sender<Vec<u8>>, chunk: Vec<u8>) -> Result<(), mpsc::error::SendError<Vec<u8>>> {
    const LARGEST: usize = reprise_engine::frame::MAX_STATE;
    if chunk.len() <= LARGEST {
        return frames.send(chunk).await;
    }
    for frame in chunk.chunks(LARGEST) {
        frames.send(frame.to_vec()).await?;
    }
    Ok(())
}

/// Reads every [`READERS`]th chunk on a thread of its own, in order.
fn lane(
    reader: SnapshotReader,
    manifest: &Arc<Manifest>,
    first: usize,
    damage: &Arc<Mutex<Option<Damage>>>,
) -> mpsc::Receiver<Vec<u8>> {
    let (chunks, lane) = mpsc::channel(AHEAD);
    let step = READERS.min(manifest.chunks.len());
    let pieces: Vec<ChunkToRead> = manifest.to_read().skip(first).step_by(step).collect();
    let damage = Arc::clone(damage);
    tokio::task::spawn_blocking(move || {
        for piece in pieces {
            let mut chunk = Vec::new();
            if let Err(found) = reader.read_chunk(&piece, &mut chunk) {
                damage.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
                break;
            }
            // Nobody waits for it any more.
            if chunks.blocking_send(chunk).is_err() {
                break;
            }
        }
    });
    lane
}

/// Why a snapshot could not be brought to the worker.
enum Brought {
    Damaged(Damage),
    Lost(EngineError),
}

/// How an attempt failed.
enum Attempt {
    /// The snapshot is not to be used; the engine is well.
    Refused(Refusal),
    /// The engine is lost, and perhaps it was the snapshot that did it.
    Lost { error: EngineError, suspect: bool },
}

impl Attempt {
    /// The engine failed while it only collected bytes, or was to forget them.
    fn before(error: EngineError) -> Self {
        match error {
            EngineError::Fault(fault) if !matches!(fault, Fault::NotLoaded) => {
                Self::Refused(Refusal { reason: reason("restore", fault.to_string()), fate: Fate::Keep })
            }
            error => Self::Lost { error, suspect: false },
        }
    }

    /// The engine failed while it took the state in.
    fn during(error: EngineError) -> Self {
        match error {
            EngineError::Died(_) => Self::Lost { error, suspect: true },
            error => Self::before(error),
        }
    }
}

/// The first check failed. What may pass by itself is no reason to drop anything.
fn damaged(done: &mut Resumption, began: Instant, damage: &Damage) -> Attempt {
    done.checks.clear();
    done.checks.push(check("integrity", false, ms(began), damage.to_string()));
    let (reason, fate) = match damage {
        Damage::Gone => (reason("evicted", "the snapshot was evicted"), Fate::Keep),
        passing if passing.may_pass() => (reason("no_snapshot", passing.to_string()), Fate::Keep),
        damage => {
            let what = format!("the snapshot was damaged and has been discarded: {damage}");
            (reason("integrity", what), Fate::Drop)
        }
    };
    Attempt::Refused(Refusal { reason, fate })
}

fn check(name: &str, ok: bool, ms: f64, detail: impl Into<String>) -> Check {
    Check { name: name.to_owned(), ok, ms, detail: detail.into() }
}

/// The first field that differs.
pub(crate) fn check_identity(
    then: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Result<(), String> {
    let names = now.keys().chain(then.keys());
    match names.into_iter().find(|name| then.get(*name) != now.get(*name)) {
        Some(name) => Err(name.clone()),
        None => Ok(()),
    }
}

fn common(a: &[i32], b: &[i32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn restore_spec(manifest: &Manifest, probes: &[&[TokenId]]) -> RestoreSpec {
    let region =
        |region: &reprise_store::Region| Region { offset: region.offset, row: region.row, rows: region.rows };
    let fields = manifest.identity.iter().filter(|(name, _)| name.starts_with("image."));
    RestoreSpec {
        tokens: manifest.tokens.iter().map(|token| TokenId(*token)).collect(),
        table: ImageTable {
            len: manifest.layout.len,
            regions: manifest.layout.regions.iter().map(region).collect(),
            fields: fields.map(|(name, value)| (name.clone(), value.clone())).collect(),
        },
        probes: probes.iter().map(|probe| probe.to_vec()).collect(),
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// What the engine is asked first: the prompt as tokens.
pub(crate) async fn prepare(engine: &EngineHandle, spec: &GenerateSpec) -> Result<PromptTokens, EngineError> {
    engine.prepare(spec.clone()).await
}

/// What identifies the loaded model's states.
pub(crate) fn identity_of(
    hello: &Hello,
    spec: &LoadSpec,
    info: &ModelInfo,
    model: &str,
) -> BTreeMap<String, String> {
    identity::identity(hello, spec, info, model)
}
