//! From what a person types to an FTS5 expression, which is never a syntax error.

use unicode_normalization::UnicodeNormalization;

use super::segment::{is_single, segment};

/// What counts of the input. Pasting a page into the search field must not cost more than a query.
const MAX_CHARS: usize = 1_000;
const MAX_WORDS: usize = 32;

/// A part of the input: a word, or a quoted phrase.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    text: String,
    /// It is the last, and nothing says that it is finished.
    open: bool,
}

/// The expression; `None` where the input holds nothing to search for.
///
/// Each part becomes an FTS5 string, in which nothing but a quote has a meaning, and parts hold no
/// quotes. FTS5 itself cuts the string into a phrase, by the same rules as the text.
pub(super) fn match_expression(input: &str) -> Option<String> {
    let terms: Vec<String> = parts(input)
        .into_iter()
        .filter(|part| part.text.chars().any(char::is_alphanumeric))
        .take(MAX_WORDS)
        .map(|part| {
            let unfinished = part.open && part.text.ends_with(is_prefix_end);
            let star = if unfinished { " *" } else { "" };
            format!("\"{}\"{star}", segment(&part.text))
        })
        .collect();
    // Side by side, FTS5 wants all of them, and leaves out what holds no word for it.
    (!terms.is_empty()).then(|| terms.join(" "))
}

/// A word may go on after this: not after a character that is a word by itself.
fn is_prefix_end(c: char) -> bool {
    c.is_alphanumeric() && !is_single(c)
}

fn parts(input: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut quoted = false;
    for c in input.nfkc().take(MAX_CHARS) {
        let is_quote = matches!(c, '"' | '“' | '”' | '„');
        let ends = is_quote || (!quoted && (c.is_whitespace() || c.is_control()));
        if !ends {
            text.push(c);
            continue;
        }
        if !text.is_empty() {
            parts.push(Part { text: std::mem::take(&mut text), open: false });
        }
        quoted ^= is_quote;
    }
    if !text.is_empty() {
        parts.push(Part { text, open: true });
    }
    parts
}
