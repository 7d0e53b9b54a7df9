//! Whether a conversation's states are restored and kept: what the caller wishes, and what the person chose for it.

use reprise_store::ConversationChoices;

use crate::receipt::Reason;
use crate::resume::reason;

/// What becomes of states in one turn or opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateUse {
    /// They are restored and kept.
    Wanted,
    /// None is restored, because the person asked that the text is read; what comes of it is kept.
    ReplayAsked,
    /// Neither: the caller does without.
    Disabled,
    /// Neither: the person chose so for this conversation.
    AlwaysReplay,
}

impl StateUse {
    pub(crate) fn of(wanted: bool, choices: ConversationChoices) -> Self {
        match (wanted, choices.always_replay) {
            (false, _) => Self::Disabled,
            (true, true) => Self::AlwaysReplay,
            (true, false) => Self::Wanted,
        }
    }

    /// The same, where the person asked that the text is read now.
    pub(crate) fn replaying(self) -> Self {
        if self == Self::Wanted { Self::ReplayAsked } else { self }
    }

    pub(crate) fn restores(self) -> bool {
        self == Self::Wanted
    }

    pub(crate) fn keeps(self) -> bool {
        matches!(self, Self::Wanted | Self::ReplayAsked)
    }

    /// Why none is restored.
    pub(crate) fn why_not(self) -> Reason {
        match self {
            Self::ReplayAsked => reason("asked", "you asked for it"),
            Self::AlwaysReplay => {
                reason("always_replay", "this conversation is set to be replayed each time")
            }
            Self::Wanted | Self::Disabled => reason("disabled", "snapshots are switched off"),
        }
    }
}
