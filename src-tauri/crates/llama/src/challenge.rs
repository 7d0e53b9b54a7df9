//! The question that only a computation over the right cells answers rightly.
//!
//! A probe is decoded behind a state, its logits are taken down, and its cells are removed again. One
//! token is enough: at any depth its logits depend on every cell of every layer. What the answers are
//! compared with, and how, is not decided here.

use reprise_engine::message::TokenId;
use reprise_engine::state::Fingerprint;

/// The texts of the probes. With full attention and equal computation either tells everything; across
/// threads and devices, where only a distance can be measured, two see more than one
/// (`docs/VERIFICATION.md`).
pub(crate) const PROBES: [&str; 2] = ["?", " The"];

/// How many of the likeliest tokens a fingerprint names.
const TOP: usize = 32;
/// How many logits a fingerprint keeps at fixed places.
const FIXED: usize = 64;

/// Takes down what the logits behind `probe` are.
pub(crate) fn fingerprint(probe: &[TokenId], logits: &[f32]) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::with_capacity(4096);
    for part in logits.chunks(1024) {
        bytes.clear();
        bytes.extend(part.iter().flat_map(|logit| logit.to_le_bytes()));
        hasher.update(&bytes);
    }
    let largest = logits.iter().copied().max_by(f32::total_cmp).unwrap_or_default();
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let top = TOP.min(order.len());
    if top > 0 {
        order.select_nth_unstable_by(top - 1, |a, b| logits[*b].total_cmp(&logits[*a]));
    }
    order.truncate(top);
    order.sort_unstable_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let place = |index: usize| index * logits.len() / FIXED;
    Fingerprint {
        probe: probe.to_vec(),
        hash: hasher.finalize().to_hex().to_string(),
        log_sum_exp: f64::from(largest) + sum.ln(),
        top: order.iter().map(|id| (TokenId(i32::try_from(*id).unwrap_or(i32::MAX)), logits[*id])).collect(),
        fixed: if logits.is_empty() { Vec::new() } else { (0..FIXED).map(|i| logits[place(i)]).collect() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_any_changed_bit_and_names_the_likeliest() {
        let mut logits: Vec<f32> = (0..5000_u16).map(|i| f32::from(i % 97) / 10.0).collect();
        logits[4321] = 30.0;
        let before = fingerprint(&[TokenId(7)], &logits);
        assert_eq!(before.top[0], (TokenId(4321), 30.0));
        assert!(before.top.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        assert_eq!((before.top.len(), before.fixed.len()), (TOP, FIXED));
        assert!((before.log_sum_exp - 30.0).abs() < 1e-3);
        assert_eq!(before, fingerprint(&[TokenId(7)], &logits));
        logits[17] = f32::from_bits(logits[17].to_bits() ^ 1);
        assert_ne!(before.hash, fingerprint(&[TokenId(7)], &logits).hash);
    }

    #[test]
    fn strange_logits_make_a_fingerprint_too() {
        assert!(fingerprint(&[], &[]).top.is_empty());
        assert_eq!(fingerprint(&[], &[1.0]).top, [(TokenId(0), 1.0)]);
        let broken = fingerprint(&[], &[f32::NAN, 1.0, f32::INFINITY]);
        assert!(!broken.log_sum_exp.is_finite());
    }
}
