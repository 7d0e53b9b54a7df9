//! `reprise-cli history`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use reprise_chat::export;
use reprise_chat::history::{
    Conversation, ConversationId, ConversationSummary, History as Library, ListFilter, Message, MessageState,
    SearchHit, StopReason, Timestamp,
};
use reprise_chat::{Snapshots, SystemWorld, World, list_snapshots};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{ExportFormat, Global, History};
use crate::bundle::{self, Wish};
use crate::output::{Failure, Out, plain, size};
use crate::place;

pub(crate) async fn run(global: &Global, args: &History, out: &Out) -> Result<ExitCode, Failure> {
    match args {
        History::List { trashed } => {
            // Without snapshots that can be read there are none.
            let kept = place::existing(global).ok().and_then(|dir| list_snapshots(&dir).ok());
            let kept = kept.into_iter().flat_map(|(kept, _)| kept).map(|kept| kept.conversation).collect();
            list(&place::reader(global)?, *trashed, &kept, out)?;
        }
        History::Show { id, all } => show(&place::reader(global)?, id.parse()?, *all, out)?,
        History::Search { query, limit } => search(&place::reader(global)?, query, *limit, out)?,
        History::Export { id, format: ExportFormat::Bundle, output, overwrite, no_snapshots } => {
            let wish = Wish { file: output.as_deref(), overwrite: *overwrite, with_state: !no_snapshots };
            bundle::export(global, id.parse()?, &wish, out)?;
        }
        History::Export { id, format, output, .. } => {
            let as_markdown = *format == ExportFormat::Markdown;
            export_text(&place::reader(global)?, id.parse()?, as_markdown, output.as_deref(), out)?;
        }
        History::Import { file, no_snapshots } => bundle::import(global, file, !no_snapshots, out).await?,
        History::Trash { id } => {
            let id: ConversationId = id.parse()?;
            place::writer(global)?.0.trash(id, SystemWorld.now()).await?;
            let done = json!({ "conversation": id.to_string(), "trashed": true });
            out.result(&done, || {
                format!("Conversation {id} is in the trash. Undo: reprise-cli history restore {id}\n")
            });
        }
        History::Restore { id } => {
            let id: ConversationId = id.parse()?;
            place::writer(global)?.0.restore(id).await?;
            let done = json!({ "conversation": id.to_string(), "trashed": false });
            out.result(&done, || format!("Conversation {id} is restored.\n"));
        }
        History::Purge { id } => purge(global, id.parse()?, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct SummaryJson<'a> {
    id: String,
    title: &'a str,
    /// Milliseconds since 1970.
    updated: u64,
    created: u64,
    messages: u64,
    model: Option<&'a str>,
    /// Bytes of text.
    bytes: u64,
    /// Whether it can resume from a state.
    snapshot: bool,
}

impl<'a> SummaryJson<'a> {
    fn new(summary: &'a ConversationSummary, kept: &HashSet<ConversationId>) -> Self {
        Self {
            id: summary.id.to_string(),
            title: &summary.title,
            updated: summary.updated.as_millis(),
            created: summary.created.as_millis(),
            messages: summary.messages,
            model: summary.model.as_ref().map(|model| model.name.as_str()),
            bytes: summary.text_bytes,
            snapshot: kept.contains(&summary.id),
        }
    }
}

fn list(library: &Library, trashed: bool, kept: &HashSet<ConversationId>, out: &Out) -> Result<(), Failure> {
    let found = library.list(ListFilter { trashed })?;
    let rows: Vec<SummaryJson> = found.iter().map(|one| SummaryJson::new(one, kept)).collect();
    out.result(&json!({ "conversations": rows }), || {
        let mut text = String::new();
        for one in &found {
            let (id, count, bytes) = (one.id, one.messages, size(one.text_bytes));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{id}  {count:>4} messages  {bytes:>9}  {}", plain(&one.title));
        }
        if found.is_empty() {
            text.push_str(if trashed {
                "The trash is empty.\n"
            } else {
                "There are no conversations yet.\n"
            });
        }
        text
    });
    Ok(())
}

fn show(library: &Library, id: ConversationId, all: bool, out: &Out) -> Result<(), Failure> {
    let conversation = library.conversation(id)?;
    let active = library.active_path(id)?;
    let tree = if out.is_json() || all { library.messages(id)? } else { Vec::new() };
    let rows: Vec<Value> =
        tree.iter().map(|message| message_json(message, active.iter().any(|a| a.id == message.id))).collect();
    out.result(&conversation_json(&conversation, &rows), || {
        let mut text = format!("# {}\n", plain(&conversation.title));
        for message in if all { &tree } else { &active } {
            let mark = match message.state {
                MessageState::Complete => "",
                MessageState::Streaming => ", being written",
                MessageState::Stopped => ", stopped",
                MessageState::Interrupted => ", interrupted",
            };
            let damaged = if message.damaged { ", damaged on the disk" } else { "" };
            let role = message.role.as_str();
            let _ = writeln!(text, "\n[{role}{mark}{damaged} · {}]\n{}", message.id, plain(&message.text));
        }
        text
    });
    Ok(())
}

fn conversation_json(conversation: &Conversation, messages: &[Value]) -> Value {
    json!({
        "conversation": conversation.id.to_string(),
        "title": conversation.title,
        "created": conversation.created.as_millis(),
        "updated": conversation.updated.as_millis(),
        "model": conversation.model.as_ref().map(|model| &model.name),
        "seed": conversation.seed,
        "active_leaf": conversation.active_leaf.map(|leaf| leaf.to_string()),
        "trashed": conversation.trashed_at.is_some(),
        "messages": messages,
    })
}

fn message_json(message: &Message, active: bool) -> Value {
    json!({
        "id": message.id.to_string(),
        "parent": message.parent.map(|parent| parent.to_string()),
        "role": message.role.as_str(),
        "text": message.text,
        "state": message.state.as_str(),
        "notice": message.notice.as_ref().map(|notice| &notice.text),
        "stop": message.stop.map(StopReason::as_str),
        "created": message.created.as_millis(),
        "finished": message.finished.map(Timestamp::as_millis),
        "model": message.model_name,
        "token_ids": message.tokens.as_ref().map(|tokens| &tokens.ids),
        "stats": message.stats,
        "receipt": message.receipt,
        "damaged": message.damaged,
        "active": active,
    })
}

fn search(library: &Library, query: &str, limit: usize, out: &Out) -> Result<(), Failure> {
    let started = Instant::now();
    let hits = library.search(query, limit)?;
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    let rows: Vec<Value> = hits.iter().map(hit_json).collect();
    out.result(&json!({ "hits": rows, "ms": ms }), || {
        let mut text = String::new();
        for hit in &hits {
            let _ =
                writeln!(text, "{}  {}\n    {}", hit.conversation, plain(&hit.title), plain(&hit.snippet));
        }
        if hits.is_empty() {
            text.push_str("Nothing was found.\n");
        }
        text
    });
    Ok(())
}

fn hit_json(hit: &SearchHit) -> Value {
    json!({
        "conversation": hit.conversation.to_string(),
        "message": hit.message.map(|message| message.to_string()),
        "title": hit.title,
        "snippet": hit.snippet,
        // Byte ranges in the snippet.
        "matches": hit.matches.iter().map(|range| [range.start, range.end]).collect::<Vec<_>>(),
        "rank": hit.rank,
    })
}

fn export_text(
    library: &Library,
    id: ConversationId,
    as_markdown: bool,
    file: Option<&std::path::Path>,
    out: &Out,
) -> Result<(), Failure> {
    let conversation = library.conversation(id)?;
    let (name, content) = if as_markdown {
        ("markdown", export::markdown(library, &conversation)?)
    } else {
        ("json", export::json(library, &conversation)?)
    };
    if let Some(file) = file {
        std::fs::write(file, &content).map_err(|error| {
            let what = format!("{} could not be written: {error}.", file.display());
            Failure::new("export_failed", what, "Choose another place, or free some disk space.")
        })?;
        let done = json!({ "conversation": id.to_string(), "format": name, "file": file });
        out.result(&done, || format!("Written to {}.\n", file.display()));
    } else if as_markdown {
        let done = json!({ "conversation": id.to_string(), "format": name, "content": content });
        out.result(&done, || content);
    } else {
        // The document is the one JSON object.
        let document: Value = serde_json::from_str(&content).unwrap_or_default();
        out.result(&document, || format!("{content}\n"));
    }
    Ok(())
}

async fn purge(global: &Global, id: ConversationId, out: &Out) -> Result<(), Failure> {
    let (library, _) = place::writer(global)?;
    let snapshots = Snapshots::open(&library, &SystemWorld).await;
    let purged = reprise_chat::purge(&library, snapshots, id).await?;
    let backups: Vec<String> = purged.backups.iter().map(|path| path.display().to_string()).collect();
    let done = json!({
        "conversation": id.to_string(),
        "purged": true,
        "messages": purged.messages,
        "journal_erased": purged.journal_erased,
        "backups": backups,
        "snapshots": purged.snapshots.as_ref().ok(),
    });
    out.result(&done, || {
        let mut text = format!("Conversation {id} and its {} messages are erased.\n", purged.messages);
        for backup in &backups {
            let _ = writeln!(text, "This backup still holds it: {backup}");
        }
        if let Err(error) = &purged.snapshots {
            let _ =
                writeln!(text, "Its snapshots could not be erased: {error} Erase them with snapshots clear.");
        }
        if !purged.journal_erased {
            text.push_str("Another program was reading: the journal gives up the text when it closes.\n");
        }
        text
    });
    Ok(())
}
