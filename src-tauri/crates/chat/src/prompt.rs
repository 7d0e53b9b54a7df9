//! From stored messages to what the engine is asked.

use reprise_engine::message::{ChatMessage, Role as EngineRole, TokenId};
use reprise_store::{Message, Role, TokenSequence};

/// The messages as the template gets them. An answer that never began is left out, and neighbours of
/// the same role become one: strict templates accept nothing else, and no text is lost.
pub(crate) fn messages(path: &[Message]) -> Vec<ChatMessage> {
    let mut messages: Vec<ChatMessage> = Vec::with_capacity(path.len());
    for message in path {
        if message.role != Role::User && message.text.is_empty() {
            continue;
        }
        let role = match message.role {
            Role::System => EngineRole::System,
            Role::User => EngineRole::User,
            Role::Assistant => EngineRole::Assistant,
        };
        match messages.last_mut() {
            Some(last) if last.role == role => {
                last.content.push_str("\n\n");
                last.content.push_str(&message.text);
            }
            _ => messages.push(ChatMessage { role, content: message.text.clone() }),
        }
    }
    messages
}

/// Tokens that are known of a path from its beginning.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Known {
    pub(crate) tokens: Vec<TokenId>,
    /// Whether they cover every message of the path. Only then do the tokens of the next message begin
    /// where these end, and are worth keeping.
    pub(crate) complete: bool,
}

/// Joins the tokens of the messages of `path`, as far as they were made with `identity`. A user's
/// message carries the prompt's tokens since the answer before it (the system prompt's among them), an
/// answer those that were sampled.
pub(crate) fn known(path: &[Message], identity: &str) -> Known {
    let mut tokens = Vec::new();
    for message in path.iter().filter(|message| message.role != Role::System) {
        match &message.tokens {
            Some(own) if own.identity == identity && !message.damaged => {
                tokens.extend(own.ids.iter().map(|id| TokenId(id.cast_signed())));
            }
            _ => {
                return Known { tokens, complete: false };
            }
        }
    }
    Known { tokens, complete: true }
}

/// As the store keeps tokens.
pub(crate) fn sequence(identity: &str, tokens: &[TokenId]) -> TokenSequence {
    TokenSequence {
        identity: identity.to_owned(),
        ids: tokens.iter().map(|token| token.0.cast_unsigned()).collect(),
    }
}

/// Longest title made from a message, in characters.
const TITLE_LENGTH: usize = 60;

/// A title from the first message: its first line, cut at a word.
pub(crate) fn title_of(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= TITLE_LENGTH {
        return line;
    }
    let cut: String = line.chars().take(TITLE_LENGTH).collect();
    // A word is kept whole where that leaves a title worth having; Chinese has no spaces to cut at.
    let end = cut.rfind(' ').filter(|end| *end > cut.len() / 2).unwrap_or(cut.len());
    format!("{}…", cut[..end].trim_end())
}

/// The seed of one answer: the same for the same seed of the conversation, the same depth in the tree
/// and the same place among its alternatives, so that an answer can be had again.
pub(crate) fn seed_of(conversation: u64, depth: usize, alternative: usize) -> u32 {
    let mut hasher = blake3::Hasher::new();
    for part in [conversation, depth as u64, alternative as u64] {
        hasher.update(&part.to_le_bytes());
    }
    let mut bytes = [0; 4];
    hasher.finalize_xof().fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_one_short_line() {
        assert_eq!(title_of("\n  Hello   there \nsecond line"), "Hello there");
        assert_eq!(title_of(""), "");
        let long = "word ".repeat(40);
        let title = title_of(&long);
        assert!(title.ends_with("word…") && title.chars().count() <= TITLE_LENGTH + 1, "{title}");
        let chinese = "从上次停下的地方继续".repeat(20);
        assert_eq!(title_of(&chinese).chars().count(), TITLE_LENGTH + 1);
    }

    #[test]
    fn seeds_differ_by_place_and_repeat() {
        assert_eq!(seed_of(7, 2, 0), seed_of(7, 2, 0));
        let others = [seed_of(8, 2, 0), seed_of(7, 3, 0), seed_of(7, 2, 1)];
        assert!(others.iter().all(|seed| *seed != seed_of(7, 2, 0)));
    }
}
