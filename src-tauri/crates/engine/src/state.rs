//! What app and worker say to one another about state: the KV cache as bytes, and the proof that a
//! computation sees them.
//!
//! The worker holds the bytes of a state in an *image*: what llama.cpp exports for one sequence. The app
//! never sees an image whole; it names pieces of it, and only those travel. So a state larger than the
//! app's memory can be kept, and what is kept already is not sent again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::message::TokenId;

/// Names an exported image until it is released, or displaced by a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub u64);

/// Equal pieces of an image at equal distances: `count` pieces of `len` bytes, the first at `offset`,
/// each `stride` bytes behind the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stripe {
    /// Where the first piece begins, in bytes from the image's beginning.
    pub offset: u64,
    /// Bytes of one piece.
    pub len: u64,
    /// From one piece's beginning to the next one's, in bytes; at least `len` where there are several.
    pub stride: u64,
    /// Pieces.
    pub count: u32,
}

impl Stripe {
    /// Bytes of all its pieces.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len.saturating_mul(u64::from(self.count))
    }

    /// Whether every piece lies within an image of `len` bytes.
    #[must_use]
    pub fn lies_within(&self, len: u64) -> bool {
        let end = u64::from(self.count.saturating_sub(1))
            .checked_mul(self.stride)
            .and_then(|last| last.checked_add(self.offset)?.checked_add(self.len));
        let apart = self.count <= 1 || self.stride >= self.len;
        self.count > 0 && self.len > 0 && apart && end.is_some_and(|end| end <= len)
    }
}

/// The bytes of one chunk: its stripes in order, and of each stripe its pieces in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pieces(pub Vec<Stripe>);

impl Pieces {
    /// All of an image of `len` bytes.
    #[must_use]
    pub fn whole(len: u64) -> Self {
        let mut pieces = Self::default();
        pieces.push(0, len);
        pieces
    }

    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.iter().fold(0, |sum, stripe| sum.saturating_add(stripe.bytes()))
    }

    /// Whether all of it lies within an image of `len` bytes.
    #[must_use]
    pub fn lie_within(&self, len: u64) -> bool {
        self.0.iter().all(|stripe| stripe.lies_within(len))
    }

    /// Adds `len` bytes at `offset`, and makes it part of the last stripe where it continues that.
    pub fn push(&mut self, offset: u64, len: u64) {
        if let Some(last) = self.0.last_mut()
            && last.len == len
            && offset > last.offset
        {
            let step = if last.count == 1 { offset - last.offset } else { last.stride };
            let next = u64::from(last.count).checked_mul(step).and_then(|way| way.checked_add(last.offset));
            if step >= len && next == Some(offset) {
                last.stride = step;
                last.count += 1;
                return;
            }
        }
        self.0.push(Stripe { offset, len, stride: len, count: 1 });
    }

    /// Where its pieces lie, as `(offset, bytes)`.
    pub fn spans(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().flat_map(|stripe| {
            (0..u64::from(stripe.count)).map(|index| (stripe.offset + index * stripe.stride, stripe.len))
        })
    }
}

/// Rows of one layer's K or V in an image, one row a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Where they begin, in bytes.
    pub offset: u64,
    /// Bytes of one row.
    pub row: u64,
    /// Rows.
    pub rows: u32,
}

/// What can be read off an image itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageTable {
    /// Bytes of the image.
    pub len: u64,
    /// Rows of K and V, by offset. Empty where the layout is not known: then nothing can be told of
    /// what is inside.
    pub regions: Vec<Region>,
    /// The resolved truth that llama.cpp's API does not tell: element types, row sizes, whether V is
    /// transposed. The same for every image of one model and one set of context parameters.
    pub fields: BTreeMap<String, String>,
}

/// What the logits behind one probe were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The tokens that were decoded behind the state.
    pub probe: Vec<TokenId>,
    /// BLAKE3 (hex) of all logits as little-endian `f32`: equal only where every bit is.
    pub hash: String,
    /// ln Σ exp(logit), over the whole vocabulary.
    pub log_sum_exp: f64,
    /// The likeliest tokens with their logits, the likeliest first.
    pub top: Vec<(TokenId, f32)>,
    /// Logits at fixed places, evenly over the vocabulary.
    pub fixed: Vec<f32>,
}

impl Fingerprint {
    /// Whether every number in it is one: NaN and infinity have no place in a message.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.log_sum_exp.is_finite()
            && self.top.iter().all(|(_, logit)| logit.is_finite())
            && self.fixed.iter().all(|logit| logit.is_finite())
    }
}

/// What a loaded model's states are like, measured once when it was loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StateTraits {
    /// See [`ImageTable::fields`].
    pub fields: BTreeMap<String, String>,
    /// The probes asked on an empty context: what a model that remembers nothing answers (the amnesia
    /// control).
    pub controls: Vec<Fingerprint>,
    /// What decides whether two computations give equal bits: device, module, threads. Within one class
    /// equality is demanded.
    pub class: BTreeMap<String, String>,
}

/// A state that was taken out of the live context. That goes on as if nothing had happened, or where the
/// probes cannot be taken back, from this very image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exported {
    /// Its bytes stay with the worker under this name.
    pub image: ImageId,
    /// The tokens whose cells it holds, by position.
    pub tokens: Vec<TokenId>,
    /// What it is made of.
    pub table: ImageTable,
    /// The probes' answers at its end.
    pub fingerprints: Vec<Fingerprint>,
    /// One question asked before and after the live state was overwritten with this image; `None` where it
    /// was not overwritten. Where it was, the state is on trial now: it is used once it is accepted.
    #[serde(default)]
    pub overwritten: Option<Twice>,
    /// The state that was taken within the prompt of the answer, where it was asked for
    /// ([`crate::message::GenerateSpec::checkpoint`]).
    #[serde(default)]
    pub checkpoint: Option<Checkpoint>,
    /// Time to copy the state, in milliseconds: the longest step that holds up a turn.
    pub export_ms: f64,
    /// Time to ask the probes and take them back, in milliseconds.
    pub challenge_ms: f64,
}

/// One question, asked of a state when it was live, and again of what its image gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Twice {
    /// Of the live state.
    pub before: Fingerprint,
    /// Of what was set.
    pub after: Fingerprint,
}

/// A state within a prompt, taken before the rest of it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its bytes stay with the worker under this name.
    pub image: ImageId,
    /// The tokens whose cells it holds, by position.
    pub tokens: Vec<TokenId>,
    /// What it is made of.
    pub table: ImageTable,
    /// The probes' answers at its end, set anew.
    pub fingerprints: Vec<Fingerprint>,
    /// The rest of the prompt as the question: what followed when the answer began, and what follows from
    /// the image.
    pub proof: Twice,
    /// Time by which the answer began later, in milliseconds.
    pub export_ms: f64,
}

/// A state to be put in place of the live one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreSpec {
    /// The tokens whose cells it must hold.
    pub tokens: Vec<TokenId>,
    /// What the image was when it was exported; it must be just that still.
    pub table: ImageTable,
    /// Probes to be asked.
    pub probes: Vec<Vec<TokenId>>,
}

/// What came of a restore. The context holds the state on trial: the worker uses it only when the app
/// has accepted it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// Why the state is not what it should be, where it is not. Then there are no fingerprints, and the
    /// context is destroyed already.
    pub fault: Option<String>,
    /// What the checks of the restored state saw.
    pub detail: String,
    /// Time to make a context and set the state, in milliseconds.
    pub restore_ms: f64,
    /// The probes' answers now.
    pub fingerprints: Vec<Fingerprint>,
    /// Time to ask them and take them back, in milliseconds.
    pub challenge_ms: f64,
}

/// A prompt, tokenised; nothing is computed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptTokens {
    /// All of it.
    pub tokens: Vec<TokenId>,
    /// How many of them the live context holds and can keep.
    pub live: u32,
    /// Tokens that the live context holds, whether they fit or not.
    pub live_total: u32,
    /// How many of them the next prompt is sure to begin with, whatever is answered: where a state should be taken
    /// that the next turn can use. 0 where nobody needs to know, because states can be trimmed.
    #[serde(default)]
    pub keeps: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_at_equal_distances_become_one_stripe_and_keep_their_order() {
        let check = |spans: &[(u64, u64)], stripes: usize| {
            let mut pieces = Pieces::default();
            for (offset, len) in spans {
                pieces.push(*offset, *len);
            }
            assert_eq!(pieces.spans().collect::<Vec<_>>(), spans);
            assert_eq!(pieces.0.len(), stripes, "{pieces:?}");
            assert_eq!(pieces.bytes(), spans.iter().map(|(_, len)| len).sum::<u64>());
        };
        check(&[], 0);
        check(&[(12, 4)], 1);
        check(&[(0, 4), (10, 4), (20, 4), (30, 4)], 1);
        check(&[(0, 4), (10, 4), (20, 4), (31, 4), (42, 4)], 2);
        check(&[(0, 4), (10, 4), (20, 5)], 2);
        // Backwards and overlapping pieces are kept as they are.
        check(&[(20, 4), (10, 4), (0, 4)], 3);
        check(&[(0, 4), (2, 4), (4, 4)], 3);
    }

    #[test]
    fn what_reaches_beyond_the_image_does_not_lie_within() {
        let check = |offset, len, stride, count, within| {
            let stripe = Stripe { offset, len, stride, count };
            assert_eq!(stripe.lies_within(100), within, "{stripe:?}");
        };
        check(0, 100, 100, 1, true);
        check(0, 101, 101, 1, false);
        check(10, 10, 20, 5, true);
        check(11, 10, 20, 5, false);
        check(0, 10, 5, 3, false);
        check(0, 0, 10, 3, false);
        check(0, 10, 10, 0, false);
        check(u64::MAX, 10, 10, 2, false);
        check(8, 8, u64::MAX, 3, false);
    }
}
