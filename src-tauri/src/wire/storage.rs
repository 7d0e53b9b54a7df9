//! What snapshots take, and their list.

use reprise_chat::history::{SnapshotOrder as By, SnapshotState, VerifyProgress};
use reprise_chat::{Cleared as Gone, SnapshotInList, SnapshotPart, StorageFacts, Verified};
use reprise_protocol::{Cleared, SnapshotOrder, SnapshotPage, SnapshotRow, StorageView, VerifyUpdate};

use super::conversation::millis;
use crate::refusal::Refusal;

/// What snapshots take and may take.
pub fn view(facts: StorageFacts) -> StorageView {
    StorageView {
        snapshots: facts.snapshots,
        pinned: facts.pinned,
        bytes: facts.bytes,
        budget: facts.budget,
        default_budget: facts.default_budget,
        chosen: facts.chosen,
        free: facts.free,
        history: facts.history,
        folder: facts.folder.display().to_string(),
        unusable: facts.unusable.map(|why| Refusal::new(why.code, why.message, why.remedy).0),
    }
}

/// How the list is sorted.
pub fn sorted_by(order: SnapshotOrder) -> By {
    match order {
        SnapshotOrder::Size => By::Size,
        SnapshotOrder::Age => By::Age,
        SnapshotOrder::Used => By::Used,
    }
}

/// Part of the list.
pub fn page(part: SnapshotPart, offset: u32) -> SnapshotPage {
    SnapshotPage { rows: part.rows.into_iter().map(row).collect(), offset, total: part.total }
}

fn row(SnapshotInList { snapshot, title, model }: SnapshotInList) -> SnapshotRow {
    SnapshotRow {
        id: snapshot.id.to_string(),
        conversation: snapshot.conversation.to_string(),
        title,
        model,
        tokens: snapshot.n_tokens,
        bytes: snapshot.bytes,
        created: millis(snapshot.created),
        used: millis(snapshot.last_used),
        pinned: snapshot.pinned,
        quarantined: match snapshot.state {
            SnapshotState::Ready => None,
            SnapshotState::Quarantined { why } => Some(why),
        },
    }
}

/// What was removed.
pub fn cleared(gone: Gone) -> Cleared {
    Cleared { snapshots: count(gone.snapshots), bytes: gone.bytes }
}

/// How far a check has come.
pub fn progress(now: VerifyProgress) -> VerifyUpdate {
    VerifyUpdate::Progress { checked: count(now.checked), of: count(now.of), bytes: now.bytes }
}

/// What a check came to.
pub fn done(verified: Verified) -> VerifyUpdate {
    VerifyUpdate::Done {
        whole: count(verified.whole),
        removed: count(verified.removed),
        bytes: verified.bytes,
        ms: verified.ms,
        stopped: verified.stopped,
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
