//! Token splicing: the prompt keeps the tokens it was made of.
//!
//! Text rendered anew rarely gives the tokens that were sampled (a model may spell a word in pieces
//! that the tokeniser would never choose), and the KV cache is worth only as much as the token prefix
//! it shares with the prompt. So where tokens known from before spell a prefix of the rendered text,
//! they are used as they are, and only the rest is tokenised.
//!
//! Where the known tokens leave the text, the cut goes back to the last control token: a tokeniser
//! treats what stands on its two sides independently, so the rest is tokenised as it would have been
//! in the whole text. A cut anywhere else could split a word ("Hello wor" + "ld").

use reprise_engine::message::TokenId;

/// What splicing needs of a model's vocabulary.
pub trait Vocabulary {
    /// The bytes that a token spells, control tokens included. May be part of a character.
    fn piece(&self, token: TokenId) -> Vec<u8>;
    /// Whether it is a control token: a boundary that text never crosses.
    fn is_control(&self, token: TokenId) -> bool;
    /// Whether an answer ends when the model says it.
    fn ends_answer(&self, token: TokenId) -> bool;
    /// Tokenises text; control tokens in it are recognised, none is added.
    fn tokenize(&self, text: &[u8]) -> Vec<TokenId>;
    /// The beginning-of-sequence token, where the model wants one.
    fn bos(&self) -> Option<TokenId>;
}

/// Tokens computed before, and how far they may be trusted as a boundary.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// From the beginning of the conversation.
    pub tokens: &'a [TokenId],
    /// Whether they end where a message was finished, so that the text may be cut there.
    pub ends_message: bool,
}

/// Tokenises `rendered`, keeping as many of one of the known sequences as spell its beginning: of that
/// which reaches furthest. The result always spells `rendered`, save for a leading beginning-of-sequence
/// token.
#[must_use]
pub fn splice(vocabulary: &impl Vocabulary, rendered: &str, known: &[Known<'_>]) -> Vec<TokenId> {
    let text = rendered.as_bytes();
    let bos = added_bos(vocabulary, text);
    let best = known
        .iter()
        .map(|known| reach(vocabulary, text, *known, bos))
        .max_by_key(|reach| reach.bytes)
        .filter(|reach| reach.bytes > 0);
    if let Some(reach) = best {
        let rest = vocabulary.tokenize(&text[reach.bytes..]);
        let mut tokens = reach.tokens.to_vec();
        tokens.extend(&rest);
        if spells(vocabulary, &tokens, bos, text) {
            return tokens;
        }
    }
    // Nothing known fits, or this tokeniser does not work piecewise.
    bos.into_iter().chain(vocabulary.tokenize(text)).collect()
}

struct Reach<'a> {
    tokens: &'a [TokenId],
    bytes: usize,
}

/// How far a known sequence may be used.
fn reach<'a>(vocabulary: &impl Vocabulary, text: &[u8], known: Known<'a>, bos: Option<TokenId>) -> Reach<'a> {
    let mut bytes = 0;
    let mut boundary = Reach { tokens: &[], bytes: 0 };
    let mut count = 0;
    for (index, &token) in known.tokens.iter().enumerate() {
        let added_bos = index == 0 && Some(token) == bos;
        if !added_bos {
            let piece = vocabulary.piece(token);
            if !text[bytes..].starts_with(&piece) {
                break;
            }
            bytes += piece.len();
        } else if bos.is_none() {
            break;
        }
        count = index + 1;
        if vocabulary.is_control(token) {
            boundary = Reach { tokens: &known.tokens[..count], bytes };
        }
    }
    // A sequence that lacks the beginning token which this prompt begins with is of another prompt.
    if bos.is_some() && known.tokens.first().copied() != bos {
        return Reach { tokens: &[], bytes: 0 };
    }
    let whole = match known.tokens.get(count..) {
        // The model ended its answer, and the template writes that otherwise or not at all.
        Some([end]) => known.ends_message && vocabulary.ends_answer(*end),
        rest => rest.is_some_and(<[_]>::is_empty),
    };
    let on_character = text.get(bytes).is_none_or(|byte| byte & 0xc0 != 0x80);
    if whole && on_character && (known.ends_message || begins_with_control(vocabulary, &text[bytes..])) {
        return Reach { tokens: &known.tokens[..count], bytes };
    }
    boundary
}

/// The beginning token, where the template does not write it itself.
fn added_bos(vocabulary: &impl Vocabulary, text: &[u8]) -> Option<TokenId> {
    vocabulary.bos().filter(|bos| {
        let spelled = vocabulary.piece(*bos);
        spelled.is_empty() || !text.starts_with(&spelled)
    })
}

/// How many of a prompt's tokens would begin the prompt `text` too, and not all of them: up to the last control
/// token, at which tokenising always begins anew. Where there is none near the end and `text` begins with all of
/// the prompt, its own tokens are known to that prompt, and all but one stay.
pub(crate) fn kept_in(vocabulary: &impl Vocabulary, text: &str, prompt: &[TokenId]) -> usize {
    const NEAR: usize = 64;
    let bos = added_bos(vocabulary, text.as_bytes());
    let reach = |ends_message| {
        let known = Known { tokens: prompt, ends_message };
        reach(vocabulary, text.as_bytes(), known, bos).tokens.len()
    };
    let last = prompt.len().saturating_sub(1);
    let boundary = reach(false).min(last);
    if boundary + NEAR < last && reach(true) == prompt.len() { last } else { boundary }
}

/// How many tokens two prompts share that every other prompt shares too which begins with the same text. The last
/// ones do not count, because what comes behind a text decides how its end is tokenised: only those up to a control
/// token do, or up to white space that ends before the text does. No tokeniser joins that to what stands before it.
pub(crate) fn sure(vocabulary: &impl Vocabulary, one: &[TokenId], other: &[TokenId]) -> usize {
    const NEAR: usize = 64;
    /// Where neither is near, no more than so many tokens at the end become others.
    const END: usize = 8;
    let common = common_prefix(one, other);
    // Of the tokens behind the one that is looked at: whether there is text in them, and whether they begin with white
    // space that ends before the text does.
    let (mut text, mut space) = (false, false);
    for last in (common.saturating_sub(NEAR)..common).rev() {
        let piece = vocabulary.piece(one[last]);
        let is = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
        if vocabulary.is_control(one[last]) || (space && !is(piece.last())) {
            return last + 1;
        }
        text |= !piece.trim_ascii().is_empty();
        space = text && is(piece.first());
    }
    common.saturating_sub(END)
}

/// Looks at no more text than the longest control token takes.
fn begins_with_control(vocabulary: &impl Vocabulary, text: &[u8]) -> bool {
    let mut end = text.len().min(64);
    while end < text.len() && text[end] & 0xc0 == 0x80 {
        end += 1;
    }
    vocabulary.tokenize(&text[..end]).first().is_none_or(|token| vocabulary.is_control(*token))
}

fn spells(vocabulary: &impl Vocabulary, tokens: &[TokenId], bos: Option<TokenId>, text: &[u8]) -> bool {
    let skip = usize::from(bos.is_some() && tokens.first().copied() == bos);
    let mut rest = text;
    for &token in &tokens[skip..] {
        match rest.strip_prefix(&vocabulary.piece(token)[..]) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// How many tokens two sequences have in common from the start.
#[must_use]
pub fn common_prefix(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A greedy longest-match tokeniser over a few words; `<s>`, `<e>` and `<u>` are control tokens.
    struct Words {
        pieces: Vec<&'static str>,
        bos: bool,
    }

    impl Words {
        fn new() -> Self {
            let pieces =
                vec!["<s>", "<e>", "<u>", "Hello", "Hel", "lo", " wor", "ld", " world", "你", " ", "a", "b"];
            Self { pieces, bos: false }
        }

        fn ids(&self, pieces: &[&str]) -> Vec<TokenId> {
            pieces.iter().map(|piece| self.id(piece)).collect()
        }

        fn id(&self, piece: &str) -> TokenId {
            let at = self.pieces.iter().position(|p| *p == piece).unwrap();
            TokenId(i32::try_from(at).unwrap())
        }

        fn text(&self, token: TokenId) -> &'static str {
            self.pieces[usize::try_from(token.0).unwrap()]
        }

        fn check(&self, rendered: &str, known: &[&str], ends_message: bool, expect: &[&str]) {
            let known = self.ids(known);
            let known = Known { tokens: &known, ends_message };
            let got = splice(self, rendered, &[known]);
            let got: Vec<&str> = got.iter().map(|id| self.text(*id)).collect();
            assert_eq!(got, expect, "{rendered}");
        }
    }

    impl Vocabulary for Words {
        fn piece(&self, token: TokenId) -> Vec<u8> {
            self.text(token).as_bytes().to_vec()
        }

        fn is_control(&self, token: TokenId) -> bool {
            token.0 < 3
        }

        fn ends_answer(&self, token: TokenId) -> bool {
            token.0 == 1
        }

        fn tokenize(&self, text: &[u8]) -> Vec<TokenId> {
            let mut rest = text;
            let mut tokens = Vec::new();
            while !rest.is_empty() {
                let best =
                    self.pieces.iter().filter(|p| rest.starts_with(p.as_bytes())).max_by_key(|p| p.len());
                let best = best.unwrap_or_else(|| panic!("no piece for {:?}", String::from_utf8_lossy(rest)));
                tokens.push(self.id(best));
                rest = &rest[best.len()..];
            }
            tokens
        }

        fn bos(&self) -> Option<TokenId> {
            self.bos.then_some(TokenId(0))
        }
    }

    #[test]
    fn sampled_spelling_is_kept() {
        // The model said Hel+lo; the tokeniser alone would say Hello.
        Words::new().check("<u>Hello<e>", &["<u>", "Hel", "lo", "<e>"], true, &["<u>", "Hel", "lo", "<e>"]);
        Words::new().check("<u>Hello<e>a", &["<u>", "Hel", "lo"], true, &["<u>", "Hel", "lo", "<e>", "a"]);
    }

    #[test]
    fn nothing_known_is_plain_tokenising() {
        Words::new().check("<u>Hello world", &[], true, &["<u>", "Hello", " world"]);
    }

    #[test]
    fn an_edit_never_splits_a_word() {
        let known = ["<u>", "Hel", "lo", "<e>", "<u>", "Hello", " wor"];
        // Computed up to " wor", which now goes on: back to the control token before it.
        let expect = ["<u>", "Hel", "lo", "<e>", "<u>", "Hello", " world"];
        Words::new().check("<u>Hello<e><u>Hello world", &known, false, &expect);
        // The same tokens may end there where the text does.
        let expect = ["<u>", "Hel", "lo", "<e>", "<u>", "Hello", " wor"];
        Words::new().check("<u>Hello<e><u>Hello wor", &known, false, &expect);
    }

    #[test]
    fn a_dropped_middle_keeps_what_stands_before_it() {
        let known = ["<u>", "Hel", "lo", "<e>", "a", "b", "<e>", "b"];
        Words::new().check("<u>Hello<e>b<e>b", &known, true, &["<u>", "Hel", "lo", "<e>", "b", "<e>", "b"]);
    }

    #[test]
    fn an_end_that_no_template_writes_costs_nothing_of_the_answer() {
        let answered = ["<s>", "Hel", "lo", "<e>"];
        Words::new().check("<s>Hello worlda", &answered, true, &["<s>", "Hel", "lo", " world", "a"]);
        Words::new().check("<s>Hello", &answered, true, &["<s>", "Hel", "lo"]);
        // No answer ends so, and none was finished.
        Words::new().check("<s>Hellob", &["<s>", "Hel", "lo", "<u>"], true, &["<s>", "Hello", "b"]);
        Words::new().check("<s>Hellob", &answered, false, &["<s>", "Hello", "b"]);
        // Something else was said.
        Words::new().check("<s>Helb", &answered, true, &["<s>", "Hel", "b"]);
    }

    #[test]
    fn an_added_beginning_token_spells_nothing() {
        let mut words = Words::new();
        words.bos = true;
        words.check("Hello<e>a", &["<s>", "Hel", "lo"], true, &["<s>", "Hel", "lo", "<e>", "a"]);
        // The template writes it itself: it is not doubled.
        words.check("<s>Hello<e>a", &["<s>", "Hel", "lo"], true, &["<s>", "Hel", "lo", "<e>", "a"]);
        // Known tokens without it are of another prompt.
        words.check("Hello<e>", &["Hel", "lo"], true, &["<s>", "Hello", "<e>"]);
    }

    #[test]
    fn the_sequence_that_reaches_furthest_wins() {
        let words = Words::new();
        let short = words.ids(&["<u>"]);
        let long = words.ids(&["<u>", "Hel", "lo", "<e>"]);
        let known = [&short, &long].map(|tokens| Known { tokens, ends_message: false });
        assert_eq!(splice(&words, "<u>Hello<e>a", &known)[..4], long);
    }

    #[test]
    fn what_every_next_prompt_shares_ends_where_no_text_behind_it_matters() {
        let words = Words::new();
        let sure = |one: &[&str], other: &[&str]| sure(&words, &words.ids(one), &words.ids(other));
        // Behind a control token.
        assert_eq!(sure(&["<s>", "Hel", "lo", "<u>", "a"], &["<s>", "Hel", "lo", "<u>", "b"]), 4);
        assert_eq!(sure(&["<s>", "Hel", "lo", "<u>", "b", "a"], &["<s>", "Hel", "lo", "<u>", "b", "b"]), 4);
        // Before white space that is over, and not where it may go on.
        let one = ["Hello", " wor", "ld", " ", "a", "b", "a"];
        assert_eq!(sure(&one, &["Hello", " wor", "ld", " ", "a", "b", "b"]), 3);
        assert_eq!(sure(&one, &["Hello", " wor", "ld", " ", "b"]), 1);
        assert_eq!(sure(&["Hello", " ", " ", "a", "b"], &["Hello", " ", " ", "a", "a"]), 1);
        // Long text that has neither: all but its end.
        let (mut one, mut other) = (vec!["<s>"; 1], vec!["<s>"; 1]);
        one.extend(["a"; 200]);
        other.extend(["a"; 190]);
        assert_eq!(sure(&one, &other), 183);
        assert_eq!(sure(&["<s>", "a", "b"], &["<s>", "a", "a"]), 1);
        assert_eq!(sure(&["a"], &["b"]), 0);
        assert_eq!(sure(&[], &[]), 0);
    }

    #[test]
    fn a_cut_never_falls_inside_a_character() {
        struct Bytes;
        impl Vocabulary for Bytes {
            fn piece(&self, token: TokenId) -> Vec<u8> {
                vec![u8::try_from(token.0).unwrap()]
            }
            fn is_control(&self, _: TokenId) -> bool {
                false
            }
            fn ends_answer(&self, _: TokenId) -> bool {
                false
            }
            fn tokenize(&self, text: &[u8]) -> Vec<TokenId> {
                assert!(std::str::from_utf8(text).is_ok(), "asked to tokenise half a character");
                text.iter().map(|byte| TokenId(i32::from(*byte))).collect()
            }
            fn bos(&self) -> Option<TokenId> {
                None
            }
        }
        let known: Vec<_> = "你".bytes().take(2).map(|byte| TokenId(i32::from(byte))).collect();
        let known = Known { tokens: &known, ends_message: true };
        assert_eq!(splice(&Bytes, "你好", &[known]).len(), 6);
    }

    #[test]
    fn what_the_next_prompt_begins_with_ends_at_a_control_token_or_with_the_prompt() {
        let words = Words::new();
        let kept = |text: &str, prompt: &[&str]| kept_in(&words, text, &words.ids(prompt));
        // Both go on alike, then the first part of a word may become another.
        assert_eq!(kept("<s>Hello<u>a", &["<s>", "Hello", "<u>"]), 2, "one is left to be read");
        assert_eq!(kept("<s>Hello<u>Hello", &["<s>", "Hello", "<u>", "Hel"]), 3);
        // What was thought is dropped.
        assert_eq!(kept("<s>Hello<u>b", &["<s>", "Hello", "<u>", "a", "a"]), 3);
        assert_eq!(kept("b", &["a", "a"]), 0);
        // Without control tokens the prompt's own are known.
        let mut long = vec!["<s>"];
        long.extend(["a"; 200]);
        let text = format!("<s>{}b", "a".repeat(200));
        assert_eq!(kept(&text, &long), 200);
        assert_eq!(kept("<s>ab", &long), 1, "unless they are not there");
        assert_eq!(kept("", &[]), 0);
        // The beginning token is written by the template, or added.
        let words = Words { bos: true, ..Words::new() };
        let prompt = words.ids(&["<s>", "Hello", "<u>", "a"]);
        assert_eq!(kept_in(&words, "<s>Hello<u>b", &prompt), 3);
        assert_eq!(kept_in(&words, "Hello<u>b", &prompt), 3);
    }
}
