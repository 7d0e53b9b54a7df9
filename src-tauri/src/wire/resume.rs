//! How a conversation is made ready, and what that will cost.

use reprise_chat as chat;
use reprise_chat::history::{ConversationId, Timestamp};
use reprise_protocol::{
    Crossing, CrossingSide, EditCost, Mark, NotYet, Outlook, Reason, ResumeTrigger, Resumed,
};

use super::conversation::{millis, noted};

/// Why a conversation is to be made ready.
pub fn trigger(trigger: ResumeTrigger) -> chat::Trigger {
    match trigger {
        ResumeTrigger::Opened => chat::Trigger::Opened,
        ResumeTrigger::Composing => chat::Trigger::Composing,
        ResumeTrigger::Replay => chat::Trigger::Replay,
    }
}

/// Why nothing was done.
pub fn not_yet(why: chat::NotYet) -> NotYet {
    match why {
        chat::NotYet::Busy => NotYet::Busy,
        chat::NotYet::NotLoaded => NotYet::NotLoaded,
        chat::NotYet::OtherModel => NotYet::OtherModel,
        chat::NotYet::Nothing => NotYet::Nothing,
    }
}

/// What was done, as it is kept.
pub fn resumed((at, receipt): (Timestamp, chat::Receipt)) -> Option<Resumed> {
    let receipt = serde_json::to_value(receipt).ok().and_then(noted)?;
    Some(Resumed { at: millis(at), receipt })
}

/// Why a path was taken.
pub fn reason(reason: chat::Reason) -> Reason {
    Reason { code: reason.code, message: reason.message, field: reason.field }
}

/// Whether a conversation opens at once.
pub fn mark(mark: chat::Mark) -> Mark {
    Mark {
        conversation: mark.conversation.to_string(),
        instant: mark.instant,
        reason: mark.reason.map(reason),
    }
}

/// Where no model would answer.
pub fn no_mark(conversation: ConversationId) -> Mark {
    Mark { conversation: conversation.to_string(), instant: false, reason: None }
}

/// What going on will cost; `models` is the list that ids are of.
pub fn outlook(
    conversation: ConversationId,
    outlook: chat::Outlook,
    models: &[chat::ListedModel],
) -> Outlook {
    let side = |side: chat::Side| {
        let there = |listed: &&chat::ListedModel| listed.model.path == side.path && listed.bytes.is_some();
        let model = models.iter().find(there).map(|listed| listed.model.id.to_string());
        CrossingSide {
            model,
            name: side.name,
            load_ms: side.load_ms,
            instant: side.instant,
            ready_ms: side.ready_ms,
        }
    };
    let edit = |edit: chat::EditCost| EditCost {
        message: edit.message.to_string(),
        tokens: edit.tokens,
        ms: edit.ms,
    };
    Outlook {
        conversation: conversation.to_string(),
        tokens: outlook.tokens,
        replay_ms: outlook.replay_ms,
        mark: mark(outlook.mark),
        edits: outlook.edits.into_iter().map(edit).collect(),
        crossing: outlook
            .crossing
            .map(|crossing| Crossing { before: side(crossing.before), now: side(crossing.now) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that only one side knows would take the whole receipt away.
    #[test]
    fn what_is_kept_of_an_opening_is_what_is_shown() {
        let check = chat::Check { name: "tokens".to_owned(), ok: true, ms: 0.5, detail: "7".to_owned() };
        let differs = |code: &str, field: &str| chat::Reason {
            code: code.to_owned(),
            message: "it differs".to_owned(),
            field: Some(field.to_owned()),
        };
        let why = differs("identity", "kv_type");
        let receipt = chat::Receipt {
            path: chat::ResumePath::Replayed,
            reason: Some(why.clone()),
            tokens_total: 7,
            tokens_reused: 3,
            tokens_decoded: 4,
            bytes_read: 9,
            ms: 1.5,
            ms_bytes: Some(0.5),
            ms_challenge: None,
            estimated_replay_ms: Some(2.5),
            checks: vec![check],
        };
        let shown = resumed((Timestamp::from_millis(12), receipt)).unwrap();
        assert_eq!((shown.at, shown.receipt.tokens_total, shown.receipt.ms_bytes), (12.0, 7, Some(0.5)));
        assert_eq!(shown.receipt.reason, Some(reason(why)));
        assert!(shown.receipt.checks.iter().all(|check| check.ok && check.name == "tokens"));
    }
}
