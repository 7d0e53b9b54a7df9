//! How many tokens a text takes, while it is typed.

use std::time::Duration;

use tokio::time::timeout;

use crate::Chat;

/// Longer texts are estimated, in bytes: nobody counts the tokens of a book that was pasted.
const LONGEST: usize = 200_000;
/// Whoever types does not wait longer.
const PATIENCE: Duration = Duration::from_millis(400);

/// A count of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// Tokens.
    pub tokens: u32,
    /// Whether the model's own tokeniser counted them.
    pub exact: bool,
}

impl Chat {
    /// By the loaded model's tokeniser, while it has nothing else to do; estimated otherwise. No model is
    /// loaded for it.
    pub async fn count_tokens(&self, text: &str) -> TokenCount {
        let loaded = self.engine.status().borrow().loaded.is_some();
        if loaded && text.len() <= LONGEST && self.turn.try_lock().is_ok() {
            let counted = timeout(PATIENCE, self.engine.count_tokens(text.to_owned())).await;
            if let Ok(Ok(tokens)) = counted {
                return TokenCount { tokens, exact: true };
            }
        }
        TokenCount { tokens: estimate(text), exact: false }
    }
}

/// About four bytes of Latin text make a token, and each Chinese, Japanese or Korean character one.
pub(crate) fn estimate(text: &str) -> u32 {
    let (mut characters, mut bytes) = (0, 0);
    for c in text.chars() {
        if is_cjk(c) {
            characters += 1;
        } else {
            bytes += c.len_utf8();
        }
    }
    u32::try_from(characters + bytes.div_ceil(4)).unwrap_or(u32::MAX)
}

fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_counts_what_a_tokeniser_would_roughly() {
        assert_eq!(estimate(""), 0);
        assert_eq!(estimate("Hi"), 1);
        assert_eq!(estimate(&"word ".repeat(100)), 125);
        assert_eq!(estimate("从上次停下的地方继续"), 10);
        assert_eq!(estimate("用 CPU 计算"), 5);
    }
}
