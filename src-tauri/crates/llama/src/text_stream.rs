//! From the bytes of sampled tokens to text that can be shown.
//!
//! A token's bytes may end inside a character, may be no UTF-8 at all, and may hold a part of a
//! stop string. [`TextStream`] gives out complete characters, shows invalid bytes as U+FFFD, and
//! keeps back just what could still become a stop string. Put together, its pieces equal
//! [`String::from_utf8_lossy`] of all bytes, cut at the stop.

/// What a piece of bytes brought to light.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emit {
    /// Text that is now certain; may be empty.
    pub text: String,
    /// Index, in the list given to [`TextStream::new`], of the stop string that ended the text.
    /// Once set it stays, and nothing more comes.
    pub stopped: Option<usize>,
}

/// Turns byte pieces into text pieces and watches for stop strings.
///
/// The stop that is **complete first** wins, so that generation ends at the first token that
/// allows it and the result does not depend on how bytes are cut into tokens. Of several that
/// are complete at the same character the longest wins: it starts first. The text ends before it.
///
/// Time is linear in the bytes, for each stop string; memory is the longest stop string and one
/// character.
#[derive(Debug)]
pub struct TextStream {
    stops: Vec<Stop>,
    /// The bytes of a character that is not complete yet: 3 at most.
    partial: Vec<u8>,
    /// Complete characters that may be the beginning of a stop string.
    held: String,
    stopped: Option<usize>,
}

/// One stop string with its automaton (Knuth, Morris, Pratt).
#[derive(Debug)]
struct Stop {
    index: usize,
    bytes: Vec<u8>,
    /// For each length of a matched beginning: the longest shorter one that is also its end.
    fallback: Vec<usize>,
    /// How much of the beginning the text seen so far ends with.
    matched: usize,
}

impl TextStream {
    /// A stream that ends at any of `stops`. Empty ones are ignored.
    #[must_use]
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Self {
        let stops = stops
            .iter()
            .enumerate()
            .filter(|(_, stop)| !stop.as_ref().is_empty())
            .map(|(index, stop)| Stop::new(index, stop.as_ref()))
            .collect();
        Self { stops, partial: Vec::new(), held: String::new(), stopped: None }
    }

    /// Takes the next bytes and gives out what they make certain.
    pub fn push(&mut self, bytes: &[u8]) -> Emit {
        if self.stopped.is_some() {
            return Emit { text: String::new(), stopped: self.stopped };
        }
        let fresh = self.decode(bytes);
        self.advance(&fresh)
    }

    /// Ends the stream and gives out what was held back. An incomplete character shows as one
    /// U+FFFD.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.stopped.is_some() {
            return String::new();
        }
        let tail = if self.partial.is_empty() { "" } else { "\u{FFFD}" };
        let last = self.advance(tail);
        if last.stopped.is_some() { last.text } else { last.text + &self.held }
    }

    /// Decodes all that is decided. Invalid bytes are replaced by maximal subparts (Unicode,
    /// chapter 3, "U+FFFD Substitution of Maximal Subparts"), as the standard library does it.
    fn decode(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = if self.partial.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.partial).as_slice(), bytes].concat();
            joined.as_slice()
        };
        let mut text = String::with_capacity(rest.len());
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(invalid) = error.error_len() else {
                        self.partial = after.to_vec();
                        return text;
                    };
                    text.push('\u{FFFD}');
                    rest = &after[invalid..];
                }
            }
        }
    }

    /// Appends decoded text, and splits what is held at the stop or at what may become one.
    fn advance(&mut self, fresh: &str) -> Emit {
        let start = self.held.len();
        self.held.push_str(fresh);
        for at in start..self.held.len() {
            let byte = self.held.as_bytes()[at];
            let complete = self
                .stops
                .iter_mut()
                .filter_map(|stop| stop.advance(byte).then_some((stop.bytes.len(), stop.index)))
                // The longest; of equal ones the first in the list.
                .max_by_key(|&(length, index)| (length, std::cmp::Reverse(index)));
            if let Some((length, index)) = complete {
                self.stopped = Some(index);
                self.held.truncate(at + 1 - length);
                return Emit { text: std::mem::take(&mut self.held), stopped: self.stopped };
            }
        }
        // A beginning of a stop string starts with a whole character, so this cuts between two.
        let hold = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let certain = self.held.len() - hold;
        Emit { text: self.held.drain(..certain).collect(), stopped: None }
    }
}

impl Stop {
    fn new(index: usize, text: &str) -> Self {
        let bytes = text.as_bytes().to_vec();
        let mut fallback = vec![0; bytes.len() + 1];
        let mut length = 0;
        for at in 1..bytes.len() {
            while length > 0 && bytes[at] != bytes[length] {
                length = fallback[length];
            }
            if bytes[at] == bytes[length] {
                length += 1;
            }
            fallback[at + 1] = length;
        }
        Self { index, bytes, fallback, matched: 0 }
    }

    /// Takes one byte of the text; true when the stop string is complete with it.
    fn advance(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched];
        }
        if self.bytes[self.matched] == byte {
            self.matched += 1;
        }
        self.matched == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Pushes the pieces; returns each emitted text, then what `finish` gave, and the stop.
    fn run(stops: &[&str], pieces: &[&[u8]]) -> (Vec<String>, Option<usize>) {
        let mut stream = TextStream::new(stops);
        let mut texts = Vec::new();
        let mut stopped = None;
        for piece in pieces {
            let emit = stream.push(piece);
            texts.push(emit.text);
            stopped = emit.stopped;
        }
        texts.push(stream.finish());
        (texts, stopped)
    }

    #[track_caller]
    fn check(stops: &[&str], pieces: &[&[u8]], texts: &[&str], stopped: Option<usize>) {
        let (got, got_stopped) = run(stops, pieces);
        assert_eq!((got, got_stopped), (texts.iter().map(|t| (*t).to_owned()).collect(), stopped));
    }

    #[test]
    fn a_character_is_shown_when_it_is_complete() {
        check(&[], &[b"a\xe4\xbd", b"\xa0b"], &["a", "你b", ""], None);
        check(&[], &[b"\xf0", b"\x9f", b"\x98", b"\x80"], &["", "", "", "😀", ""], None);
    }

    #[test]
    fn invalid_bytes_are_shown_as_the_standard_library_shows_them() {
        check(&[], &[b"a\xffb"], &["a\u{FFFD}b", ""], None);
        // A started character that another byte breaks off is one replacement.
        check(&[], &[b"\xf0\x9f", b"x"], &["", "\u{FFFD}x", ""], None);
        check(&[], &[b"\xe4\xbd"], &["", "\u{FFFD}"], None);
        // A surrogate is three.
        check(&[], &[b"\xed\xa0\x80"], &["\u{FFFD}\u{FFFD}\u{FFFD}", ""], None);
    }

    #[test]
    fn a_stop_string_is_never_shown() {
        check(&["</s>"], &[b"hi</s>there"], &["hi", ""], Some(0));
        check(&["</s>"], &[b"hi</", b"s", b"> no"], &["hi", "", "", ""], Some(0));
        check(&["</s>"], &[b"hi</", b"b>"], &["hi", "</b>", ""], None);
        check(&["</s>"], &[b"hi</s"], &["hi", "</s"], None);
        check(&["你好"], &[b"a\xe4\xbd\xa0\xe5", b"\xa5\xbdb"], &["a", "", ""], Some(0));
    }

    #[test]
    fn a_beginning_that_fails_may_hold_another() {
        check(&["aab"], &[b"a", b"a", b"a", b"b"], &["", "", "a", "", ""], Some(0));
        check(&["abcd", "cx"], &[b"abc", b"x"], &["", "ab", ""], Some(1));
    }

    #[test]
    fn the_stop_that_is_complete_first_wins_and_of_those_the_longest() {
        check(&["abcd", "bc"], &[b"abcd"], &["a", ""], Some(1));
        check(&["bc", "abc"], &[b"xabc"], &["x", ""], Some(1));
        check(&["b", "b"], &[b"ab"], &["a", ""], Some(0));
    }

    #[test]
    fn nothing_comes_after_the_stop() {
        let mut stream = TextStream::new(&["!"]);
        assert_eq!(stream.push(b"a!b"), Emit { text: "a".into(), stopped: Some(0) });
        assert_eq!(stream.push(b"c\xff"), Emit { text: String::new(), stopped: Some(0) });
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn empty_stop_strings_are_ignored_and_keep_their_place_in_the_count() {
        check(&["", "x"], &[b"ax"], &["a", ""], Some(1));
        check(&[""], &[b"a"], &["a", ""], None);
    }

    #[test]
    fn a_stop_string_may_be_the_replacement_character_itself() {
        check(&["\u{FFFD}"], &[b"a\xe4"], &["a", ""], None);
        check(&["\u{FFFD}"], &[b"a\xff"], &["a", ""], Some(0));
    }

    #[test]
    fn time_is_linear_where_a_rescan_would_be_quadratic() {
        // A million bytes, each of which leaves a beginning of 999 of a stop string held.
        let stop = "a".repeat(1000) + "b";
        let mut stream = TextStream::new(&[stop]);
        let mut shown = 0;
        for _ in 0..1_000_000 {
            shown += stream.push(b"a").text.len();
        }
        assert_eq!(shown, 999_000);
        assert_eq!(stream.finish().len(), 1_000);
    }

    /// The plain definition: the first end in the whole text at which any stop string is complete.
    fn expected(text: &str, stops: &[String]) -> (usize, Option<usize>) {
        for end in 1..=text.len() {
            let complete = stops
                .iter()
                .enumerate()
                .filter(|(_, stop)| !stop.is_empty())
                .filter(|(_, stop)| text.as_bytes()[..end].ends_with(stop.as_bytes()));
            if let Some((index, stop)) =
                complete.max_by_key(|(index, stop)| (stop.len(), std::cmp::Reverse(*index)))
            {
                return (end - stop.len(), Some(index));
            }
        }
        (text.len(), None)
    }

    /// Bytes out of few values, so that stop strings and broken characters happen often.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            4 => prop::sample::select(vec![b"a".as_slice(), b"b", b"ab", b"<", b"</s>", b"\n"]),
            2 => prop::sample::select(vec!["你".as_bytes(), "😀".as_bytes(), "é".as_bytes(), "\u{FFFD}".as_bytes()]),
            1 => prop::sample::select(vec![b"\xff".as_slice(), b"\xf0\x9f", b"\x98", b"\x80", b"\xe4", b"\xbd", b"\xed\xa0", b"\xc3"]),
        ];
        vec(token, 0..40).prop_map(|tokens| tokens.concat())
    }

    fn stops() -> impl Strategy<Value = Vec<String>> {
        let part = prop::sample::select(vec!["a", "b", "ab", "<", "/s>", "\n", "你", "😀", "\u{FFFD}"]);
        vec(vec(part, 0..5).prop_map(|parts| parts.concat()), 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn any_chunking_gives_the_lossy_text_cut_at_the_stop(
            bytes in bytes(), stops in stops(), cuts in vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let whole = String::from_utf8_lossy(&bytes).into_owned();
            let (cut, stop) = expected(&whole, &stops);
            let longest = stops.iter().map(String::len).max().unwrap_or(0);
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            ends.push(bytes.len());
            ends.sort_unstable();

            let mut stream = TextStream::new(&stops);
            let mut shown = String::new();
            let mut at = 0;
            let mut stopped = None;
            for end in ends {
                let emit = stream.push(&bytes[at..end]);
                at = end;
                shown.push_str(&emit.text);
                stopped = emit.stopped;
                prop_assert!(whole[..cut].starts_with(&shown), "shown too much or twice");
                if stopped.is_none() {
                    // Held back: less than the longest stop string, and an incomplete character.
                    let undecided = match std::str::from_utf8(&bytes[..end]) {
                        Err(_) => (1..=3.min(end)).find(|n| {
                            std::str::from_utf8(&bytes[end - n..end])
                                .is_err_and(|e| e.error_len().is_none() && e.valid_up_to() == 0)
                        }).unwrap_or(0),
                        Ok(_) => 0,
                    };
                    let decided = String::from_utf8_lossy(&bytes[..end - undecided]).len();
                    let held = decided - shown.len();
                    prop_assert!(held <= longest.saturating_sub(1), "held back {held} bytes");
                    // And every held byte could still become a stop string.
                    let tail = &whole[decided - held..decided];
                    prop_assert!(held == 0 || stops.iter().any(|s| s.starts_with(tail)));
                    prop_assert_eq!(stream.partial.len(), undecided);
                }
            }
            let before = shown.len();
            shown.push_str(&stream.finish());
            prop_assert_eq!(&shown, &whole[..cut]);
            if stopped.is_some() {
                prop_assert_eq!(stopped, stop);
                prop_assert_eq!(before, shown.len(), "something came after the stop");
            }
        }
    }
}
