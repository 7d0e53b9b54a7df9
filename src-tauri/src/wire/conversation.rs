//! Conversations and messages.

use reprise_chat::history::{
    ConversationChoices, ConversationSummary, ListPart, MessageState as StoredState, Role,
    SearchHit as Found, StopReason as StoredStop, Timestamp,
};
use reprise_chat::{Opened, Shown};
use reprise_protocol::{
    Checkpoint, Choices, ConversationPage, ConversationRow, ConversationView, MessageState, MessageView,
    Notice, Receipt, Resumed, SearchHit, SnippetPart, Speaker, StopReason, Timing,
};
use serde::de::DeserializeOwned;

/// JavaScript's numbers hold milliseconds exactly for longer than there are dates.
pub fn millis(moment: Timestamp) -> f64 {
    moment.as_millis() as f64
}

fn row(summary: ConversationSummary) -> ConversationRow {
    ConversationRow {
        id: summary.id.to_string(),
        title: summary.title,
        updated: millis(summary.updated),
        messages: u32::try_from(summary.messages).unwrap_or(u32::MAX),
        model: summary.model.map(|model| model.name),
    }
}

/// Part of the list.
pub fn page(part: ListPart, offset: u32) -> ConversationPage {
    ConversationPage { rows: part.rows.into_iter().map(row).collect(), offset, total: part.total }
}

/// An opened conversation.
pub fn view(opened: Opened) -> ConversationView {
    ConversationView {
        id: opened.conversation.id.to_string(),
        title: opened.conversation.title,
        model: opened.conversation.model.map(|model| model.name),
        system: opened.system,
        messages: opened.messages.into_iter().map(message_view).collect(),
        draft: opened.draft,
        choices: Choices {
            always_replay: opened.choices.always_replay,
            always_cpu: opened.choices.always_cpu,
        },
        checkpoints: opened.checkpoints.into_iter().map(checkpoint).collect(),
    }
}

fn checkpoint(named: reprise_chat::Checkpoint) -> Checkpoint {
    Checkpoint {
        message: named.node.to_string(),
        name: named.name,
        created: millis(named.created),
        pinned: named.pinned,
    }
}

/// What the person chose for a conversation.
pub fn choices(chosen: Choices) -> ConversationChoices {
    ConversationChoices { always_replay: chosen.always_replay, always_cpu: chosen.always_cpu }
}

/// One message.
pub fn message_view(Shown { message, versions, resumes, resumes_before }: Shown) -> MessageView {
    let resumed = |(at, receipt)| Some(Resumed { at: millis(at), receipt: noted::<Receipt>(receipt)? });
    MessageView {
        id: message.id.to_string(),
        parent: message.parent.map(|parent| parent.to_string()),
        speaker: match message.role {
            Role::Assistant => Speaker::Assistant,
            Role::User | Role::System => Speaker::User,
        },
        text: message.text,
        state: match message.state {
            StoredState::Complete => MessageState::Complete,
            StoredState::Streaming => MessageState::Streaming,
            StoredState::Stopped => MessageState::Stopped,
            StoredState::Interrupted => MessageState::Interrupted,
        },
        stop: message.stop.map(|stop| match stop {
            StoredStop::End => StopReason::End,
            StoredStop::Length => StopReason::Length,
            StoredStop::Cancelled => StopReason::Cancelled,
            StoredStop::Failed => StopReason::Failed,
        }),
        notice: message.notice.map(|notice| Notice { code: notice.code, message: notice.text }),
        damaged: message.damaged,
        created: millis(message.created),
        versions: versions.into_iter().map(|version| version.to_string()).collect(),
        receipt: message.receipt.and_then(noted::<Receipt>),
        resumes: resumes.into_iter().filter_map(resumed).collect(),
        resumes_before,
        timing: message.stats.and_then(noted::<Timing>),
        model: message.model_name,
    }
}

/// What an earlier version noted in another way is not shown.
pub fn noted<T: DeserializeOwned>(value: serde_json::Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

/// A place that was found, its snippet cut at the matches.
pub fn hit(found: Found) -> SearchHit {
    let mut snippet = Vec::new();
    let mut at = 0;
    let mut push = |range: std::ops::Range<usize>, hit| {
        if let Some(text) = found.snippet.get(range).filter(|text| !text.is_empty()) {
            snippet.push(SnippetPart { text: text.to_owned(), hit });
        }
    };
    for range in &found.matches {
        push(at..range.start, false);
        push(range.clone(), true);
        at = range.end;
    }
    push(at..found.snippet.len(), false);
    SearchHit {
        conversation: found.conversation.to_string(),
        message: found.message.map(|message| message.to_string()),
        title: found.title,
        snippet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_chat::history::ConversationId;

    #[test]
    fn a_snippet_is_cut_at_its_matches() {
        let found = Found {
            conversation: ConversationId::new(Timestamp::from_millis(1), 1),
            message: None,
            title: String::new(),
            snippet: "语 the cat sat".to_owned(),
            matches: vec![0..3, 8..11],
            rank: -1.0,
        };
        let parts = hit(found).snippet;
        let parts: Vec<_> = parts.iter().map(|part| (part.text.as_str(), part.hit)).collect();
        assert_eq!(parts, [("语", true), (" the ", false), ("cat", true), (" sat", false)]);
    }
}
