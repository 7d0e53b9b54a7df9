//! Where a long text may be cut, so that its parts give the same tokens as the whole.
//!
//! llama.cpp looks for special tokens in a text first (some vocabularies count line breaks and markup
//! among them) and tokenises what stands between them piece by piece. Its way of doing so takes time
//! with the square of how many there are, because it walks a linked list from the start for each: 5 MB
//! full of them took more than three minutes. Cut behind a special token every few kilobytes, the same
//! text takes seconds.
//!
//! To know where special tokens will be found, [`SpecialTexts`] chooses them as llama.cpp does
//! (`tokenizer_st_partition`): longer ones first, each from left to right, none over another.

use std::collections::HashMap;

/// Texts up to this many bytes are not worth cutting; longer ones are cut about this often.
pub const STEP: usize = 16 << 10;

/// One special token of a vocabulary.
#[derive(Debug, Clone)]
pub struct Special {
    /// What is looked for.
    pub text: Vec<u8>,
    /// Whether it swallows the spaces behind it.
    pub strips_right: bool,
}

/// The special tokens of a vocabulary, to be found by text.
#[derive(Debug, Default)]
pub struct SpecialTexts {
    /// By length, the longest first.
    by_length: Vec<OfLength>,
}

#[derive(Debug)]
struct OfLength {
    length: usize,
    begins_with: [bool; 256],
    /// Whether a cut behind it is allowed.
    texts: HashMap<Vec<u8>, bool>,
}

impl SpecialTexts {
    /// Takes every text that the tokeniser looks for.
    pub fn new(specials: impl IntoIterator<Item = Special>) -> Self {
        let specials: Vec<Special> = specials.into_iter().filter(|it| !it.text.is_empty()).collect();
        let any_strips = specials.iter().any(|special| special.strips_right);
        let mut by_length: Vec<OfLength> = Vec::new();
        for Special { text, strips_right } in specials {
            // Spaces may have been swallowed by what stands before them; then this one is not there.
            let uncertain = any_strips && text.iter().all(u8::is_ascii_whitespace);
            let length = text.len();
            let at = by_length.partition_point(|group| group.length > length);
            if by_length.get(at).is_none_or(|group| group.length != length) {
                by_length.insert(at, OfLength { length, begins_with: [false; 256], texts: HashMap::new() });
            }
            by_length[at].begins_with[usize::from(text[0])] = true;
            by_length[at].texts.insert(text, !strips_right && !uncertain);
        }
        Self { by_length }
    }

    /// Splits a text into parts of about [`STEP`] bytes, as far as it has special tokens to cut at.
    pub fn parts<'t>(&self, text: &'t [u8]) -> Vec<&'t [u8]> {
        if text.len() <= STEP {
            return if text.is_empty() { Vec::new() } else { vec![text] };
        }
        let mut ends = self.found(text);
        ends.sort_unstable();
        let mut parts = Vec::new();
        let mut start = 0;
        for end in ends {
            if end - start >= STEP && end < text.len() {
                parts.push(&text[start..end]);
                start = end;
            }
        }
        parts.push(&text[start..]);
        parts
    }

    /// The ends of the special tokens in a text behind which it may be cut.
    fn found(&self, text: &[u8]) -> Vec<usize> {
        let mut taken = vec![false; text.len()];
        let mut ends = Vec::new();
        for group in &self.by_length {
            let mut at = 0;
            while at + group.length <= text.len() {
                let end = at + group.length;
                // What was taken before is not shorter: it covers neither end or all between them.
                let free = !taken[at] && !taken[end - 1];
                if !free || !group.begins_with[usize::from(text[at])] {
                    at += 1;
                    continue;
                }
                match group.texts.get(&text[at..end]) {
                    Some(may_cut) => {
                        taken[at..end].fill(true);
                        ends.extend(may_cut.then_some(end));
                        at = end;
                    }
                    None => at += 1,
                }
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials(texts: &[&str]) -> SpecialTexts {
        SpecialTexts::new(
            texts
                .iter()
                .map(|text| Special { text: text.as_bytes().to_vec(), strips_right: text.starts_with('^') }),
        )
    }

    /// Cuts the text; every cut must stand this far behind a multiple of `of` bytes, or none be made.
    #[track_caller]
    fn check(texts: &[&str], text: &str, of: usize, behind: Option<usize>) {
        let specials = specials(texts);
        let parts = specials.parts(text.as_bytes());
        assert_eq!(parts.concat(), text.as_bytes());
        let Some((_, cut)) = parts.split_last() else { return };
        assert_eq!(cut.is_empty(), behind.is_none(), "{} parts", parts.len());
        let mut at = 0;
        for part in cut {
            assert!((STEP..STEP + 64).contains(&part.len()), "{}", part.len());
            at += part.len();
            assert_eq!(Some(at % of), behind);
        }
    }

    #[test]
    fn cuts_stand_behind_a_special_token() {
        check(&["<e>"], &"some words<e>".repeat(10_000), 13, Some(0));
        check(&["<e>"], &"<e>some words".repeat(10_000), 13, Some(3));
        check(&["<e>", "<else>"], &"<e>so<else>".repeat(10_000), 1, Some(0));
    }

    #[test]
    fn without_one_the_text_stays_whole() {
        check(&["<e>"], "", 1, None);
        check(&["<e>"], &"<e>".repeat(3), 1, None);
        check(&["<e>"], &"<e".repeat(50_000), 1, None);
        check(&[], &"<e>".repeat(50_000), 1, None);
        check(&["", "x"], &"ab".repeat(50_000), 1, None);
        // At its very end there is nothing to cut off.
        check(&["<e>"], &format!("{}<e>", "a".repeat(50_000)), 1, None);
    }

    #[test]
    fn the_longer_one_is_there_and_not_what_it_covers() {
        check(&["a", "aaa"], &"a".repeat(50_000), 3, Some(0));
        check(&["\n", "\n\n"], &"x\n\n\n".repeat(20_000), 4, Some(0));
        check(&["<e>", "e>word<"], &"<e>word<e>..".repeat(5_000), 12, Some(8));
        check(&["<e", "<e>", "e>"], &"<e>".repeat(30_000), 3, Some(0));
    }

    #[test]
    fn no_cut_where_spaces_are_swallowed() {
        check(&["^e"], &"word^e".repeat(10_000), 1, None);
        check(&["^e", " "], &"word^e ".repeat(10_000), 1, None);
        check(&["^e", " ", "<e>"], &"w^e <e>".repeat(10_000), 7, Some(0));
        // The control: nothing swallows them.
        check(&[" "], &"word ".repeat(10_000), 5, Some(0));
    }
}
