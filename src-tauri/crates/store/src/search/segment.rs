//! Cutting text for the tokenizer. FTS5's `unicode61` takes a run of letters for one word, and
//! Chinese, Japanese and Korean do not put spaces between words: so each of their characters is
//! made a word of its own by an invisible mark, and a run of them is searched as a phrase.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

/// Zero-width space: a separator to `unicode61`, and nothing to the eye.
const CUT: char = '\u{200B}';
/// Stand around a match in FTS5's snippet. Control characters, which `segment` takes out of texts.
pub(super) const MATCH_START: char = '\u{2}';
/// See [`MATCH_START`].
pub(super) const MATCH_END: char = '\u{3}';

/// The text as it is indexed: compatibility forms made plain (NFKC: full-width letters, half-width
/// katakana, ligatures), control characters made spaces, and a cut at both sides of each character
/// that is a word by itself.
pub(super) fn segment(text: &str) -> String {
    let mut cut = String::with_capacity(text.len() + text.len() / 2);
    let mut previous = Kind::Other;
    for c in text.nfkc().filter(|c| *c != CUT) {
        let c = if c.is_control() && c != '\n' { ' ' } else { c };
        let kind = Kind::of(c);
        let at_border = matches!(
            (previous, kind),
            (Kind::Single, Kind::Single | Kind::Letter) | (Kind::Letter, Kind::Single)
        );
        if at_border {
            cut.push(CUT);
        }
        cut.push(c);
        previous = kind;
    }
    cut
}

/// FTS5's snippet without cuts and marks, and the marked ranges of bytes.
pub(super) fn unsegment(snippet: &str) -> (String, Vec<Range<usize>>) {
    let mut plain = String::with_capacity(snippet.len());
    let mut matches = Vec::new();
    let mut start = None;
    for c in snippet.chars() {
        match c {
            CUT => {}
            MATCH_START => start = Some(plain.len()),
            MATCH_END => matches.extend(start.take().map(|start| start..plain.len())),
            c => plain.push(c),
        }
    }
    (plain, matches)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A word by itself.
    Single,
    /// Part of a word.
    Letter,
    /// Between words.
    Other,
}

impl Kind {
    fn of(c: char) -> Self {
        if is_single(c) || is_symbol(c) {
            Self::Single
        } else if c.is_alphanumeric() {
            Self::Letter
        } else {
            Self::Other
        }
    }
}

/// Currency signs, symbols, emoji. `unicode61` knows Unicode of 2012 and takes later ones for
/// letters, which would glue them to the word beside them.
fn is_symbol(c: char) -> bool {
    matches!(c, '\u{2060}'..='\u{2BFF}' | '\u{2E00}'..='\u{2E7F}' | '\u{1F000}'..='\u{1FBFF}')
        && !c.is_alphanumeric()
}

/// Whether a character is indexed as a word by itself: Han, kana, bopomofo, Hangul.
/// Unicode 17 blocks, without their punctuation.
pub(super) const fn is_single(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{11FF}' // Hangul Jamo
        | '\u{2E80}'..='\u{2FDF}' // radicals
        | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{3035}'
        | '\u{3038}'..='\u{303C}' // iteration marks, Hangzhou numerals
        | '\u{3041}'..='\u{3096}' | '\u{309D}'..='\u{309F}' // Hiragana
        | '\u{30A1}'..='\u{30FA}' | '\u{30FC}'..='\u{30FF}' // Katakana
        | '\u{3105}'..='\u{312F}' | '\u{31A0}'..='\u{31BF}' // Bopomofo
        | '\u{3131}'..='\u{318E}' // Hangul compatibility Jamo
        | '\u{31F0}'..='\u{31FF}' // Katakana extensions
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' // Han
        | '\u{A960}'..='\u{A97C}' | '\u{AC00}'..='\u{D7FB}' // Hangul
        | '\u{F900}'..='\u{FAFF}' // Han compatibility
        | '\u{FF66}'..='\u{FF9D}' | '\u{FFA0}'..='\u{FFDC}' // half-width kana and Hangul
        | '\u{16FF0}'..='\u{16FF6}' // old iteration and reading marks
        | '\u{1AFF0}'..='\u{1B16F}' // kana supplements and extensions
        | '\u{20000}'..='\u{3FFFD}' // Han extensions
    )
}
