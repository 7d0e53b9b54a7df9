//! How often the engine died on the same thing, in a row.

use std::collections::HashMap;
use std::path::PathBuf;

use reprise_store::ConversationId;

/// What the engine was doing when it died.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Loading this model.
    Load(PathBuf),
    /// Answering in this conversation.
    Answer(ConversationId),
    /// Making this conversation ready.
    Open(ConversationId),
    /// Giving the state of this model, by its content hash.
    Keep(String),
    /// Finding out whether states survive, by the name under which that is kept.
    Compare(String),
}

/// Two deaths in a row on the same action stop the retry: a model that kills its engine would otherwise
/// do so for ever.
#[derive(Debug, Default)]
pub(crate) struct Deaths {
    in_a_row: HashMap<Action, u32>,
}

impl Deaths {
    /// Notes a death and says whether to try once more.
    pub(crate) fn died(&mut self, action: Action) -> bool {
        let count = self.in_a_row.entry(action).or_default();
        *count += 1;
        *count < 2
    }

    /// Whether it died on it twice in a row.
    pub(crate) fn is_too_many(&self, action: &Action) -> bool {
        self.in_a_row.get(action).is_some_and(|count| *count >= 2)
    }

    /// Notes that it went well.
    pub(crate) fn lived(&mut self, action: &Action) {
        self.in_a_row.remove(action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_death_in_a_row_stops_the_retry_and_success_forgives() {
        let mut deaths = Deaths::default();
        let load = || Action::Load("model".into());
        assert!(deaths.died(load()));
        assert!(deaths.died(Action::Load("another".into())), "another action has its own count");
        assert!(!deaths.died(load()));
        assert!(deaths.is_too_many(&load()) && !deaths.is_too_many(&Action::Load("another".into())));
        assert!(!deaths.died(load()), "a further explicit attempt is not retried either");
        deaths.lived(&load());
        assert!(deaths.died(load()));
    }
}
