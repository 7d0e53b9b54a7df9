//! After a turn the model's state is kept, beside whatever comes next.

use std::collections::BTreeMap;
use std::time::Instant;

use reprise_engine::EngineHandle;
use reprise_engine::message::ModelInfo;
use reprise_engine::state::{Exported, Pieces};
use reprise_store::{
    Begun, Candidate, ChunkHash, ChunkSpec, ConversationId, Layout, NewSnapshot, NodeId, Region, Save,
    SnapshotId, SnapshotState, Split, StoreError, Timestamp,
};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::NotSaved;
use crate::challenge::{Reference, require_provable};
use crate::checkpoints::CAN_TRIM;
use crate::snapshots::Snapshots;

/// Chunks that are put into one transaction weigh about this, in bytes; as much of a state is in this
/// process's memory at a time.
const BATCH: u64 = 8 << 20;

/// Earlier states of a conversation that stay where a later one cannot be trimmed to them: that of its prompt, and
/// two of the turn before.
const EARLIER_KEPT: usize = 3;

/// Frames of state that wait here at most.
const FRAMES: usize = 4;

/// What a save came to. The field names are the contract of `reprise-cli`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SavedState {
    /// The snapshot.
    #[serde(serialize_with = "as_text")]
    pub snapshot: SnapshotId,
    /// Bytes of the state.
    pub state_bytes: u64,
    /// Of these, KV rows that no earlier snapshot of the conversation had.
    pub new_kv_bytes: u64,
    /// Bytes of chunks that were written.
    pub bytes_written: u64,
    /// From the answer's end to the snapshot on the disk, in milliseconds.
    pub ms: f64,
    /// Of that, what held up the engine: copying the state and asking the probes.
    pub engine_ms: f64,
}

fn as_text<S: serde::Serializer>(id: &SnapshotId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// Whose state it is, and what it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) id: SnapshotId,
    pub(crate) created: Timestamp,
    pub(crate) conversation: ConversationId,
    pub(crate) node: NodeId,
    pub(crate) identity: BTreeMap<String, String>,
}

/// Keeps an exported state: asks the worker for the hashes of its chunks, and for the bytes of those that
/// are not here yet. The manifest comes last; whatever fails before leaves nothing visible.
pub(crate) async fn keep(
    engine: &EngineHandle,
    snapshots: &Snapshots,
    subject: Subject,
    info: &ModelInfo,
    exported: Exported,
    began: Instant,
) -> Result<SavedState, NotSaved> {
    let image = exported.image;
    let kept = keep_image(engine, snapshots, subject, info, exported, began).await;
    // It is gone with its worker, or displaced: as good as released.
    let _ = engine.release(image).await;
    kept
}

async fn keep_image(
    engine: &EngineHandle,
    snapshots: &Snapshots,
    subject: Subject,
    info: &ModelInfo,
    exported: Exported,
    began: Instant,
) -> Result<SavedState, NotSaved> {
    let state = info.state.clone().unwrap_or_default();
    let reference = Reference { fingerprints: exported.fingerprints.clone(), class: state.class };
    // One that could prove nothing later takes no other's place.
    if let Err(why) = require_provable(&reference, &reference.class, &state.controls) {
        return Err(NotSaved::unprovable(&why));
    }
    let layout = layout_of(&exported);
    let state_bytes = layout.len;
    let split = Split::of(&layout).map_err(NotSaved::unavailable)?;
    let chunks: Vec<Pieces> = split.chunks.iter().map(|spec| pieces(spec, &layout)).collect();
    let tokens: Vec<i32> = exported.tokens.iter().map(|token| token.0).collect();
    let earlier = earlier(snapshots, &subject, &tokens, &reference, info.cache.can_trim()).await?;

    let mut save = match snapshots.with(move |store| store.begin_save(state_bytes)).await? {
        Begun::Save(save) => save,
        // Whoever sets nothing aside wants nothing kept.
        Begun::TooLarge { budget: 0, .. } => return Err(NotSaved::disabled()),
        Begun::TooLarge { bytes, budget } => return Err(NotSaved::too_large(bytes, budget)),
    };
    let hashes = engine.hash(exported.image, chunks.clone()).await?;
    let hashes: Vec<ChunkHash> = hashes
        .iter()
        .map(|hash| hash.parse())
        .collect::<Result<_, StoreError>>()
        .map_err(NotSaved::unavailable)?;
    let asked = hashes.clone();
    let missing;
    (save, missing) = snapshots
        .with(move |store| {
            let missing = store.missing(&mut save, &asked)?;
            Ok((save, missing))
        })
        .await?;
    let wanted: Vec<usize> = (0..chunks.len()).filter(|index| missing[*index]).collect();
    save = fetch(engine, snapshots, save, &exported, &chunks, &hashes, &wanted).await?;

    let row: u64 = layout.regions.iter().map(|region| region.row).sum();
    let new_rows = (tokens.len() as u64).saturating_sub(u64::from(earlier.common));
    let new_kv_bytes = if row == 0 { state_bytes } else { new_rows * row };
    let facts = snapshots.pace(subject.identity.get("model").map_or("", String::as_str));
    let new = NewSnapshot {
        id: subject.id,
        conversation: subject.conversation,
        node: subject.node,
        identity: subject.identity,
        tokens,
        layout,
        chunks: split.chunks.into_iter().zip(hashes).collect(),
        image_hash: None,
        challenge: serde_json::to_value(&reference).map_err(NotSaved::unavailable)?,
        facts: serde_json::json!({
            "prefill_tok_ms": facts.prefill,
            "challenge_ms": exported.challenge_ms,
            CAN_TRIM: info.cache.can_trim(),
        }),
        created: subject.created,
        supersede: earlier.superseded,
    };
    let saved = snapshots.with(move |store| store.commit(save, &new)).await?;
    Ok(SavedState {
        snapshot: saved.id,
        state_bytes,
        new_kv_bytes,
        bytes_written: saved.bytes_written,
        ms: began.elapsed().as_secs_f64() * 1000.0,
        engine_ms: exported.export_ms + exported.challenge_ms,
    })
}

/// Has the wanted chunks sent and stores them, a few megabytes at a time.
async fn fetch(
    engine: &EngineHandle,
    snapshots: &Snapshots,
    mut save: Save,
    exported: &Exported,
    chunks: &[Pieces],
    hashes: &[ChunkHash],
    wanted: &[usize],
) -> Result<Save, NotSaved> {
    let mut rest = wanted;
    while !rest.is_empty() {
        let mut weight = 0;
        let fits = rest.iter().take_while(|index| {
            let first = weight == 0;
            weight += chunks[**index].bytes();
            first || weight <= BATCH
        });
        let (now, later) = rest.split_at(fits.count());
        rest = later;
        let asked: Vec<Pieces> = now.iter().map(|index| chunks[*index].clone()).collect();
        let lengths: Vec<usize> =
            asked.iter().map(|pieces| usize::try_from(pieces.bytes()).unwrap_or(usize::MAX)).collect();
        let (sink, mut frames) = mpsc::channel::<Vec<u8>>(FRAMES);
        let came = async {
            let mut came = Vec::with_capacity(lengths.iter().sum());
            while let Some(frame) = frames.recv().await {
                came.extend_from_slice(&frame);
            }
            came
        };
        let (shipped, came) = tokio::join!(engine.ship(exported.image, asked, sink), came);
        shipped?;
        let names: Vec<ChunkHash> = now.iter().map(|index| hashes[*index]).collect();
        save = snapshots
            .with(move |store| {
                let mut batch = Vec::with_capacity(names.len());
                let mut at = came.as_slice();
                for (name, len) in names.into_iter().zip(lengths) {
                    let Some((chunk, after)) = at.split_at_checked(len) else {
                        let why = "a piece came incomplete".to_owned();
                        return Err(StoreError::SnapshotRefused { why });
                    };
                    batch.push((name, chunk));
                    at = after;
                }
                store.put_chunks(&mut save, &batch)?;
                Ok(save)
            })
            .await?;
    }
    Ok(save)
}

/// Snapshots of before that the new one continues.
struct Earlier {
    /// Tokens that the longest of them shares with the new one.
    common: u32,
    /// Those that are wholly contained in it.
    superseded: Vec<SnapshotId>,
}

async fn earlier(
    snapshots: &Snapshots,
    subject: &Subject,
    tokens: &[i32],
    reference: &Reference,
    can_trim: bool,
) -> Result<Earlier, StoreError> {
    let (identity, conversation, tokens) =
        (subject.identity.clone(), subject.conversation, tokens.to_owned());
    let class = reference.class.clone();
    snapshots
        .with(move |store| {
            let found = store.candidates(&identity, conversation, &tokens, 64)?;
            let same = || found.iter().filter(|candidate| candidate.identity_differs.is_none());
            let contained = same().filter(|candidate| {
                candidate.conversation == conversation
                    && candidate.common == candidate.n_tokens
                    && candidate.state == SnapshotState::Ready
                    && !candidate.pinned
            });
            // One of another class is of use where this one is not.
            let of_class = |candidate: &&Candidate| {
                let manifest = store.manifest(candidate.id).ok();
                let then = manifest.and_then(|manifest| serde_json::from_value(manifest.challenge).ok());
                then.is_some_and(|then: Reference| then.class == class)
            };
            let common = same().map(|candidate| candidate.common).max().unwrap_or(0);
            // A state that can be trimmed contains every earlier one of its beginning. Of others the latest
            // stay: answers asked for again and edited messages resume from them.
            let stay = if can_trim { 0 } else { EARLIER_KEPT };
            let mut superseded: Vec<&Candidate> = contained.filter(of_class).collect();
            superseded.sort_by_key(|candidate| std::cmp::Reverse(candidate.n_tokens));
            let superseded = superseded.into_iter().skip(stay).map(|candidate| candidate.id).collect();
            Ok(Earlier { common, superseded })
        })
        .await
}

fn layout_of(exported: &Exported) -> Layout {
    let region = |region: &reprise_engine::state::Region| Region {
        offset: region.offset,
        row: region.row,
        rows: region.rows,
    };
    Layout { len: exported.table.len, regions: exported.table.regions.iter().map(region).collect() }
}

/// Where a chunk's bytes lie in the image.
pub(crate) fn pieces(spec: &ChunkSpec, layout: &Layout) -> Pieces {
    let mut pieces = Pieces::default();
    match spec {
        ChunkSpec::Rows { from, to } => {
            for region in &layout.regions {
                let rows = u64::from(to.saturating_sub(*from));
                pieces.push(region.offset + region.row * u64::from(*from), region.row * rows);
            }
        }
        ChunkSpec::Raw { spans } => spans.iter().for_each(|span| pieces.push(span.offset, span.len)),
    }
    pieces
}
