//! A conversation on its way to another data folder or machine, with its text and its state.
//!
//! What arrives is a stranger's file. The text is taken in whole or not at all; the state is one more
//! snapshot, stored and sealed as those that were made here, and put through the same five checks when it is
//! to be used. They prove that a state is whole and that the computation sees it. That it was computed from
//! this text and no other is the word of whoever packed it, as it is this program's own word for its own.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reprise_store::{
    Begun, Bundle, BundleContents, BundleFile, ChunkHash, ContentHash, Conversation, ConversationId, DataDir,
    History, ImportedText, Manifest, NewSnapshot, NodeId, PREFIX_TOKENS, PackedState, SnapshotId,
    SnapshotReader, SnapshotState, StoreError, Timestamp, content_hash_all,
};

use crate::challenge::Reference;
use crate::identity::model_files;
use crate::receipt::Reason;
use crate::snapshots::{Snapshots, blocking, new_id};
use crate::{Chat, Library, NotSaved, World, prompt};

/// States that are looked at to find the one that goes along.
const LOOKED_AT: usize = 16;

/// Bytes of chunks that are put at once; as much of a state is in memory at a time, or one chunk more.
const BATCH: usize = 4 << 20;

/// A conversation that was packed.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportedBundle {
    /// Bytes of the file.
    pub bytes: u64,
    /// How many messages went along.
    pub messages: u64,
    /// The state that went along.
    pub state: Option<MovedState>,
    /// Why none did.
    pub left_out: Option<Reason>,
}

/// A conversation that arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedBundle {
    /// What it is called here.
    pub conversation: ConversationId,
    /// What it was called where it comes from.
    pub original: ConversationId,
    /// How many messages it has.
    pub messages: u64,
    /// Whether it is a copy beside one of the same name, which may be in the trash.
    pub copied: bool,
    /// Name of the model that it was last used with.
    pub model: Option<String>,
    /// BLAKE3 of that model's files, where it was known.
    pub model_hash: Option<ContentHash>,
    /// The state that came along, as it is stored here.
    pub state: Option<StoredState>,
    /// Why a state that came along was not stored.
    pub refused: Option<NotSaved>,
}

/// A state in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedState {
    /// The message at whose end it was taken.
    pub node: NodeId,
    /// How many tokens it has seen.
    pub tokens: u64,
    /// Bytes of the state.
    pub state_bytes: u64,
}

/// A state that was stored here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredState {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What it is.
    pub state: MovedState,
    /// Bytes of chunks that were written; the others were there already.
    pub bytes_written: u64,
}

/// Packs a conversation, with the state that it would resume from where `with_state` says so. Beside a live
/// writer too. A file that is there already is replaced only where `overwrite` says so.
pub fn export(
    dir: &DataDir,
    id: ConversationId,
    to: &Path,
    with_state: bool,
    overwrite: bool,
    world: &dyn World,
) -> Result<ExportedBundle, StoreError> {
    let history = History::open_reader(dir)?;
    let conversation = history.conversation(id)?;
    let reader = SnapshotReader::open(dir);
    let found = match &reader {
        _ if !with_state => Err(left_out("disabled", "it was not asked for")),
        Ok(reader) => nearest(&history, reader, id)?,
        Err(error) => Err(left_out("no_snapshot", error.to_string())),
    };
    let reader = reader.ok();
    let model_hash = reader.as_ref().and_then(|reader| model_hash(&conversation, reader));
    let state = reader.as_ref().zip(found.as_ref().ok());
    let bundle = Bundle {
        history: &history,
        conversation: id,
        model_hash: model_hash.or_else(|| state.and_then(|(_, manifest)| stated_model(manifest))),
        state,
        product: env!("CARGO_PKG_VERSION"),
        now: world.now(),
    };
    let written = bundle.write(to, overwrite)?;
    let (state, left_out) = match (found, written.state_left_out) {
        (Ok(manifest), None) => (Some(moved(&manifest)), None),
        (Ok(_), Some(damage)) => (None, Some(left_out("integrity", damage.to_string()))),
        (Err(why), _) => (None, Some(why)),
    };
    Ok(ExportedBundle { bytes: written.bytes, messages: written.messages, state, left_out })
}

fn left_out(code: &str, message: impl Into<String>) -> Reason {
    Reason { code: code.to_owned(), message: message.into(), field: None }
}

fn moved(manifest: &Manifest) -> MovedState {
    MovedState { node: manifest.node, tokens: manifest.tokens.len() as u64, state_bytes: manifest.layout.len }
}

/// The state that the branch that is shown resumes from: the one that shares most with it. Only one goes
/// along: those of other branches weigh as much again, and those branches are there with their text.
fn nearest(
    history: &History,
    reader: &SnapshotReader,
    id: ConversationId,
) -> Result<Result<Manifest, Reason>, StoreError> {
    let path = history.active_path(id)?;
    let Some(latest) = path.iter().rev().find_map(|message| message.tokens.as_ref()) else {
        return Ok(Err(left_out("no_snapshot", "there is no snapshot of this conversation")));
    };
    let tokens: Vec<i32> =
        prompt::known(&path, &latest.identity).tokens.iter().map(|token| token.0).collect();
    drop(path);
    let found = match reader.candidates(&BTreeMap::new(), id, &tokens, LOOKED_AT) {
        Ok(found) => found,
        Err(error) => return Ok(Err(left_out("no_snapshot", error.to_string()))),
    };
    let ready =
        || found.iter().filter(|found| found.conversation == id && found.state == SnapshotState::Ready);
    let mut why = match ready().next() {
        None => left_out("no_snapshot", "there is no snapshot of this conversation"),
        Some(_) => left_out("too_short", "what it shares with the conversation is read faster than restored"),
    };
    for near in ready().filter(|found| found.common as usize >= PREFIX_TOKENS) {
        match reader.manifest(near.id) {
            Ok(manifest) => return Ok(Ok(manifest)),
            Err(damage) => why = left_out("integrity", damage.to_string()),
        }
    }
    Ok(Err(why))
}

/// As it was computed before: a model is not read for this.
fn model_hash(conversation: &Conversation, reader: &SnapshotReader) -> Option<ContentHash> {
    let files = model_files(Path::new(&conversation.model.as_ref()?.path));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    content_hash_all(&files, reader, &mut |_| ControlFlow::Break(())).ok()?
}

fn stated_model(manifest: &Manifest) -> Option<ContentHash> {
    manifest.identity.get("model")?.parse().ok()
}

/// Takes a bundle into a library. `snapshots` is where its state is kept, or why there is no such place;
/// without one the state is left where it is, and that is said.
pub async fn import(
    library: &Library,
    snapshots: Option<Result<Snapshots, StoreError>>,
    file: PathBuf,
    world: Arc<dyn World>,
) -> Result<ImportedBundle, StoreError> {
    let library = library.clone();
    blocking(move || import_now(&library, snapshots, &file, world.as_ref())).await
}

fn import_now(
    library: &Library,
    snapshots: Option<Result<Snapshots, StoreError>>,
    file: &Path,
    world: &dyn World,
) -> Result<ImportedBundle, StoreError> {
    let now = world.now();
    let mut file = BundleFile::open(file)?;
    let mut bundle = file.contents(now)?;
    let text = library.blocking_with(|writer| writer.import(&mut bundle, now, &mut || world.random()))?;
    let kept = if bundle.has_state() {
        store_state(library, snapshots, &mut bundle, &text, world).map(Some)
    } else {
        Ok(None)
    };
    let (state, refused) = match kept {
        Ok(state) => (state, None),
        Err(why) => (None, Some(why)),
    };
    let model = bundle.model();
    Ok(ImportedBundle {
        conversation: text.conversation,
        original: bundle.conversation(),
        messages: text.messages,
        copied: text.copied,
        model: model.map(|(name, _)| name.to_owned()),
        model_hash: model.and_then(|(_, hash)| hash),
        state,
        refused,
    })
}

/// Stores the state of a bundle as one that was saved here. Whatever fails, nothing of it is visible.
fn store_state(
    library: &Library,
    snapshots: Option<Result<Snapshots, StoreError>>,
    bundle: &mut BundleContents<'_>,
    text: &ImportedText,
    world: &dyn World,
) -> Result<StoredState, NotSaved> {
    let snapshots = snapshots.ok_or_else(NotSaved::disabled)??;
    let Some(packed) = bundle.state(world.now())? else {
        return Err(NotSaved::disabled());
    };
    let strange = |what: &str| NotSaved::from(StoreError::StateDamaged { what: what.to_owned() });
    let node = text.node(packed.node).ok_or_else(|| strange("it belongs to a message that is not there"))?;
    if serde_json::from_value::<Reference>(packed.challenge.clone()).is_err() {
        return Err(strange("its answers to the challenge cannot be read"));
    }
    let (snapshot, imported) = new_id(world);
    let bytes = packed.layout.len;
    let mut save = match snapshots.blocking_with(|store| store.begin_save(bytes))? {
        Begun::Save(save) => save,
        Begun::TooLarge { bytes, budget } => return Err(NotSaved::too_large(bytes, budget)),
    };
    let mut batch: Vec<(ChunkHash, Vec<u8>)> = Vec::new();
    let mut weight = 0;
    loop {
        let mut chunk = Vec::new();
        let next = bundle.next_chunk(&mut chunk)?;
        if let Some(hash) = next {
            weight += chunk.len();
            batch.push((hash, chunk));
        }
        if next.is_none() || weight >= BATCH {
            let hashes: Vec<ChunkHash> = batch.iter().map(|(hash, _)| *hash).collect();
            snapshots.blocking_with(|store| {
                let missing = store.missing(&mut save, &hashes)?;
                let put = batch.iter().zip(missing).filter(|(_, missing)| *missing);
                let put: Vec<(ChunkHash, &[u8])> =
                    put.map(|((hash, chunk), _)| (*hash, chunk.as_slice())).collect();
                store.put_chunks(&mut save, &put)
            })?;
            batch.clear();
            weight = 0;
        }
        if next.is_none() {
            break;
        }
    }
    let state = MovedState { node, tokens: packed.tokens.len() as u64, state_bytes: bytes };
    let new = snapshot_of(packed, snapshot, text.conversation, node, imported, bundle.product());
    let saved = snapshots.blocking_with(|store| store.commit(save, &new))?;
    let there = library.blocking_with(|writer| writer.conversation(text.conversation));
    if let Err(StoreError::NotFound { .. }) = there {
        // Its text was erased while it was on its way.
        snapshots.blocking_with(|store| store.drop_conversation(text.conversation))?;
        return Err(NotSaved::overtaken("The conversation was erased."));
    }
    Ok(StoredState { snapshot: saved.id, state, bytes_written: saved.bytes_written })
}

fn snapshot_of(
    packed: PackedState,
    id: SnapshotId,
    conversation: ConversationId,
    node: NodeId,
    imported: Timestamp,
    product: &str,
) -> NewSnapshot {
    NewSnapshot {
        id,
        conversation,
        node,
        identity: packed.identity,
        tokens: packed.tokens,
        layout: packed.layout,
        chunks: packed.chunks,
        image_hash: packed.image_hash,
        challenge: packed.challenge,
        // Sealed with it: that it was made elsewhere can be told for as long as it is here.
        facts: serde_json::json!({ "imported": imported, "by": product, "there": packed.facts }),
        created: packed.created,
        supersede: Vec::new(),
    }
}

impl Chat {
    /// Packs a conversation, beside whatever goes on. See [`export`].
    pub async fn export_bundle(
        &self,
        id: ConversationId,
        to: PathBuf,
        with_state: bool,
        overwrite: bool,
    ) -> Result<ExportedBundle, StoreError> {
        let dir = self.library.with(|writer| Ok(writer.data_dir().clone())).await?;
        let world = Arc::clone(&self.world);
        blocking(move || export(&dir, id, &to, with_state, overwrite, world.as_ref())).await
    }

    /// Takes a bundle into the library. See [`import`].
    pub async fn import_bundle(&self, file: PathBuf) -> Result<ImportedBundle, StoreError> {
        import(&self.library, self.snapshots.clone().map(Ok), file, Arc::clone(&self.world)).await
    }
}
