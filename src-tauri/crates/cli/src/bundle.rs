//! `reprise-cli history export --format bundle` and `history import`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use reprise_chat::bundle::{self, MovedState};
use reprise_chat::history::ConversationId;
use reprise_chat::{Snapshots, SystemWorld};
use serde_json::{Value, json};

use crate::args::Global;
use crate::output::{Failure, Out, duration, grouped, plain, size};
use crate::place;

/// What a bundle is called that nobody gave a name.
const ENDING: &str = "reprise";

pub(crate) struct Wish<'a> {
    pub(crate) file: Option<&'a Path>,
    pub(crate) overwrite: bool,
    pub(crate) with_state: bool,
}

pub(crate) fn export(global: &Global, id: ConversationId, wish: &Wish, out: &Out) -> Result<(), Failure> {
    let began = Instant::now();
    let file = wish.file.map_or_else(|| PathBuf::from(format!("{id}.{ENDING}")), Path::to_owned);
    let dir = place::existing(global)?;
    let done = bundle::export(&dir, id, &file, wish.with_state, wish.overwrite, &SystemWorld)?;
    let result = json!({
        "conversation": id.to_string(),
        "format": "bundle",
        "file": file,
        "bytes": done.bytes,
        "messages": done.messages,
        "snapshot": done.state.as_ref().map(state_json),
        "snapshot_left_out": done.left_out,
        "ms": began.elapsed().as_secs_f64() * 1000.0,
    });
    out.result(&result, || {
        let state = match (&done.state, &done.left_out) {
            (Some(state), _) => format!("with the state of {} tokens", grouped(state.tokens)),
            (None, Some(why)) => format!("without a state: {}", why.message),
            (None, None) => "without a state".to_owned(),
        };
        let (messages, bytes) = (grouped(done.messages), size(done.bytes));
        format!("Written to {}: {messages} messages, {bytes}, {state}.\n", file.display())
    });
    Ok(())
}

fn state_json(state: &MovedState) -> Value {
    json!({ "node": state.node.to_string(), "tokens": state.tokens, "state_bytes": state.state_bytes })
}

pub(crate) async fn import(global: &Global, file: &Path, with_state: bool, out: &Out) -> Result<(), Failure> {
    let began = Instant::now();
    let (library, _) = place::writer(global)?;
    let snapshots = if with_state { Some(Snapshots::open(&library, &SystemWorld).await) } else { None };
    let done = bundle::import(&library, snapshots, file.to_owned(), Arc::new(SystemWorld)).await?;
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    let snapshot = done.state.as_ref().map(|stored| {
        let mut json = state_json(&stored.state);
        json["id"] = stored.snapshot.to_string().into();
        json["bytes_written"] = stored.bytes_written.into();
        json
    });
    let refused = done
        .refused
        .as_ref()
        .map(|why| json!({ "code": why.code, "message": why.message, "remedy": why.remedy }));
    let model = done
        .model
        .as_ref()
        .map(|name| json!({ "name": name, "blake3": done.model_hash.map(|hash| hash.to_string()) }));
    let result = json!({
        "conversation": done.conversation.to_string(),
        "original": done.original.to_string(),
        "messages": done.messages,
        "copied": done.copied,
        "model": model,
        "snapshot": snapshot,
        "snapshot_refused": refused,
        "ms": ms,
    });
    out.result(&result, || {
        let copied = if done.copied { ", a copy of one that was there already" } else { "" };
        let (id, messages) = (done.conversation, grouped(done.messages));
        let state = match (&done.state, &done.refused) {
            (Some(stored), _) => {
                format!(
                    "It resumes from the state of {} tokens that came along.",
                    grouped(stored.state.tokens)
                )
            }
            (None, Some(why)) => format!("Its state was not kept: {}", plain(&why.message)),
            (None, None) => "No state came along: it is read from its text.".to_owned(),
        };
        format!("Imported as conversation {id}{copied}: {messages} messages in {}.\n{state}\n", duration(ms))
    });
    Ok(())
}
