//! The verdict on a restored state: does the computation see it?
//!
//! The worker asks the same probes at saving and at restoring and takes the logits down
//! ([`Fingerprint`]). Here they are compared: they must be equal in every bit. Where both were computed in the
//! same class (device, module, threads) an honest state's always are, and one probe tells everything; where
//! they were not they may be, and all probes are asked. Distances say how far apart answers are; what they are
//! good for, and what not, is measured in `docs/VERIFICATION.md`.

use std::collections::{BTreeMap, BTreeSet};

use reprise_engine::message::TokenId;
use reprise_engine::state::{Fingerprint, Twice};
use serde::{Deserialize, Serialize};

/// The largest distance that other batch shapes, threads and CPU variants make, with a margin, in nats
/// (`docs/VERIFICATION.md`, "Calibration").
pub const TOLERANCE: f64 = 0.05;

/// A reference closer to amnesia than this many tolerances proves nothing.
pub const SEPARATION: f64 = 20.0;

/// What a snapshot remembers of the moment when it was taken; sealed with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The probes' answers at its end.
    pub fingerprints: Vec<Fingerprint>,
    /// What decides whether equality may be demanded.
    pub class: BTreeMap<String, String>,
}

/// What came of a challenge.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether the state may be used.
    pub passed: bool,
    /// One sentence, with its measure.
    pub detail: String,
}

/// The probes to ask of a state. Where equality is demanded one tells everything, and the one whose answer is
/// furthest from amnesia is taken; elsewhere all of them are asked, because several see more than one
/// (`docs/VERIFICATION.md`). None where nothing can be proved.
#[must_use]
pub fn questions<'a>(
    reference: &'a Reference,
    class: &BTreeMap<String, String>,
    controls: &[Fingerprint],
) -> Vec<&'a [TokenId]> {
    let apart = |then: &Fingerprint| separation(then, controls).unwrap_or_default();
    let all = || reference.fingerprints.iter();
    let asked = if reference.class == *class {
        all().max_by(|a, b| apart(a).total_cmp(&apart(b))).into_iter().collect::<Vec<_>>()
    } else {
        all().collect()
    };
    asked.into_iter().map(|fingerprint| fingerprint.probe.as_slice()).collect()
}

/// Whether a reference can prove anything at all: its answers are numbers, and far from those of a model that
/// remembers nothing. Asked before a state is kept, before it is read, and when it is judged.
pub fn require_provable(
    reference: &Reference,
    class: &BTreeMap<String, String>,
    controls: &[Fingerprint],
) -> Result<(), String> {
    if !reference.fingerprints.iter().all(is_sound) {
        return Err("the answers at saving were not numbers".to_owned());
    }
    let asked = questions(reference, class, controls);
    let then = reference.fingerprints.iter().filter(|then| asked.contains(&then.probe.as_slice()));
    let apart = then
        .filter_map(|then| {
            let control = controls.iter().find(|control| control.probe == then.probe)?;
            // Something that is no number is not far from anything.
            is_sound(control).then(|| distance(then, control))
        })
        .reduce(f64::max);
    match apart {
        None => Err("it was asked other questions when it was saved".to_owned()),
        Some(apart) if apart < SEPARATION * TOLERANCE => Err(format!(
            "its answers are too close to those of a model that remembers nothing ({apart:.3}) to prove anything"
        )),
        Some(_) => Ok(()),
    }
}

/// Compares the answers to [`questions`] with those at saving. `controls` are the answers of an empty context.
#[must_use]
pub fn judge(
    reference: &Reference,
    class: &BTreeMap<String, String>,
    now: &[Fingerprint],
    controls: &[Fingerprint],
) -> Verdict {
    let failed = |detail: String| Verdict { passed: false, detail };
    if let Err(why) = require_provable(reference, class, controls) {
        return failed(why);
    }
    let asked = questions(reference, class, controls);
    let then: Vec<&Fingerprint> =
        reference.fingerprints.iter().filter(|then| asked.contains(&then.probe.as_slice())).collect();
    let same = then.len() == now.len() && then.iter().zip(now).all(|(then, now)| then.probe == now.probe);
    if then.is_empty() || !same {
        return failed("it was asked other questions when it was saved".to_owned());
    }
    let pairs = || then.iter().zip(now);
    let distance = pairs().map(|(then, now)| distance(then, now)).fold(0.0, f64::max);
    if reference.class == *class {
        if pairs().all(|(then, now)| then.hash == now.hash) {
            return Verdict { passed: true, detail: "every bit of every logit is equal".to_owned() };
        }
        return failed(format!("the logits differ (distance {distance:.4}; equality is demanded here)"));
    }
    // Equality proves the same wherever it was computed. A distance does not: single layers and rows move the
    // answers less than honest noise between devices does.
    let changed = other_class(&reference.class, class).unwrap_or_default();
    if pairs().all(|(then, now)| then.hash == now.hash) {
        let detail =
            format!("every bit of every logit is equal (computed with other {changed} than at saving)");
        return Verdict { passed: true, detail };
    }
    failed(format!(
        "it was computed with other {changed}, and the logits differ (distance {distance:.4}): nothing tells such a difference from a fault"
    ))
}

/// Whether a live state that was overwritten with its own image still answers as it did before. It may lie in
/// other cells then, which moves the last bits. The error ends a sentence.
pub fn is_unchanged(Twice { before, after }: &Twice) -> Result<(), String> {
    if before.probe != after.probe {
        return Err("it was not asked the same again".to_owned());
    }
    let apart = distance(before, after);
    if before.hash == after.hash || apart <= TOLERANCE {
        return Ok(());
    }
    Err(format!("its answer moved by {apart:.3} nats, and {TOLERANCE} are allowed"))
}

/// What differs between two classes; `None` where they are the same.
#[must_use]
pub fn other_class<'a>(
    then: &'a BTreeMap<String, String>,
    now: &'a BTreeMap<String, String>,
) -> Option<&'a str> {
    let mut names = now.keys().chain(then.keys());
    names.find(|name| now.get(*name) != then.get(*name)).map(String::as_str)
}

/// How far a state's answer is from that of an empty context. `None` where there is nothing to compare.
#[must_use]
pub fn separation(then: &Fingerprint, controls: &[Fingerprint]) -> Option<f64> {
    let control = controls.iter().find(|control| control.probe == then.probe)?;
    Some(distance(then, control))
}

/// A lower bound of the Kullback-Leibler divergence of the next-token distributions, in nats: both are
/// coarsened to the tokens that either names, and the rest as one. Coarsening never adds divergence (the
/// data-processing inequality), so what is far here is far. A token that one side does not name is taken
/// to be there as likely as it can be: no likelier than the least likely that is named, and than what the
/// named ones leave over.
#[must_use]
pub fn distance(a: &Fingerprint, b: &Fingerprint) -> f64 {
    if !is_sound(a) || !is_sound(b) {
        return f64::INFINITY;
    }
    let (pa, pb) = (probabilities(a), probabilities(b));
    let (unnamed_a, unnamed_b) = (unnamed(&pa), unnamed(&pb));
    let mut sum = 0.0;
    let (mut rest_a, mut rest_b) = (1.0, 1.0);
    for token in pa.keys().chain(pb.keys()).collect::<BTreeSet<_>>() {
        let (p, q) = match (pa.get(token), pb.get(token)) {
            (Some(p), Some(q)) => (*p, *q),
            (Some(p), None) => (*p, unnamed_b.min(*p)),
            (None, Some(q)) => (unnamed_a.min(*q), *q),
            (None, None) => continue,
        };
        sum += term(p, q);
        rest_a -= p;
        rest_b -= q;
    }
    (sum + term(rest_a.max(0.0), rest_b.max(0.0))).max(0.0)
}

/// How likely a token that is not named can be.
fn unnamed(named: &BTreeMap<i32, f64>) -> f64 {
    let least = named.values().copied().fold(f64::INFINITY, f64::min);
    let left: f64 = 1.0 - named.values().sum::<f64>();
    least.min(left.max(0.0))
}

fn term(p: f64, q: f64) -> f64 {
    // Below the precision of the logits there is nothing to compare.
    const FLOOR: f64 = 1e-6;
    if p < FLOOR { 0.0 } else { p * (p / q.max(FLOOR)).ln() }
}

fn probabilities(fingerprint: &Fingerprint) -> BTreeMap<i32, f64> {
    let p = |logit: f32| (f64::from(logit) - fingerprint.log_sum_exp).exp();
    fingerprint.top.iter().map(|(token, logit)| (token.0, p(*logit))).collect()
}

fn is_sound(fingerprint: &Fingerprint) -> bool {
    fingerprint.log_sum_exp.is_finite()
        && !fingerprint.top.is_empty()
        && fingerprint.top.iter().all(|(_, logit)| logit.is_finite())
}

#[cfg(test)]
mod tests {
    use reprise_engine::message::TokenId;

    use super::*;

    /// A fingerprint of a distribution over few tokens.
    fn of(name: &str, probabilities: &[(i32, f32)]) -> Fingerprint {
        Fingerprint {
            probe: vec![TokenId(1)],
            hash: name.to_owned(),
            log_sum_exp: 0.0,
            top: probabilities.iter().map(|(token, p)| (TokenId(*token), p.ln())).collect(),
            fixed: Vec::new(),
        }
    }

    fn class(threads: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("threads".to_owned(), threads.to_owned())])
    }

    fn judged(now: &Fingerprint, threads: &str, control: &Fingerprint) -> Verdict {
        let then = of("then", &[(5, 0.7), (6, 0.3)]);
        let reference = Reference { fingerprints: vec![then], class: class("2") };
        judge(&reference, &class(threads), std::slice::from_ref(now), std::slice::from_ref(control))
    }

    #[test]
    fn in_the_same_class_only_equality_passes() {
        let control = of("control", &[(9, 1.0)]);
        assert!(judged(&of("then", &[(5, 0.7), (6, 0.3)]), "2", &control).passed);
        let near = judged(&of("else", &[(5, 0.701), (6, 0.299)]), "2", &control);
        assert!(!near.passed && near.detail.contains("equality is demanded"), "{}", near.detail);
    }

    #[test]
    fn across_classes_too_only_equality_passes() {
        let control = of("control", &[(9, 1.0)]);
        let equal = judged(&of("then", &[(5, 0.7), (6, 0.3)]), "4", &control);
        assert!(equal.passed && equal.detail.contains("other threads"), "{}", equal.detail);
        let near = judged(&of("else", &[(5, 0.69), (6, 0.31)]), "4", &control);
        assert!(!near.passed && near.detail.contains("nothing tells"), "{}", near.detail);
        assert!(!judged(&of("else", &[(5, 0.3), (6, 0.7)]), "4", &control).passed);
        assert!(!judged(&control, "4", &control).passed);
    }

    #[test]
    fn one_probe_is_asked_where_equality_is_demanded_and_all_elsewhere() {
        let probe = |id: i32, named: &Fingerprint| Fingerprint { probe: vec![TokenId(id)], ..named.clone() };
        let (near, far) = (probe(1, &of("near", &[(5, 0.9), (9, 0.1)])), probe(2, &of("far", &[(5, 1.0)])));
        let controls = [probe(1, &of("a", &[(5, 0.8), (9, 0.2)])), probe(2, &of("b", &[(9, 1.0)]))];
        let reference = Reference { fingerprints: vec![near.clone(), far.clone()], class: class("2") };
        assert_eq!(questions(&reference, &class("2"), &controls), [[TokenId(2)]]);
        assert_eq!(questions(&reference, &class("4"), &controls), [[TokenId(1)], [TokenId(2)]]);
        let judged = |threads, now: &[Fingerprint]| judge(&reference, &class(threads), now, &controls).passed;
        assert!(judged("2", std::slice::from_ref(&far)));
        assert!(!judged("2", std::slice::from_ref(&near)), "the other question proves less");
        assert!(!judged("2", &[]), "nothing was asked");
        assert!(judged("4", &[near.clone(), far.clone()]));
        assert!(!judged("4", &[far]), "only half was asked");
    }

    #[test]
    fn a_reference_near_amnesia_proves_nothing() {
        let verdict = judged(&of("then", &[(5, 0.7), (6, 0.3)]), "2", &of("control", &[(5, 0.6), (6, 0.4)]));
        assert!(!verdict.passed && verdict.detail.contains("remembers nothing"), "{}", verdict.detail);
        let then = Reference { fingerprints: vec![of("then", &[(5, 1.0)])], class: class("2") };
        assert!(!judge(&then, &class("2"), &then.fingerprints, &[]).passed, "without a control");
        let empty = Reference { fingerprints: Vec::new(), class: class("2") };
        assert!(!judge(&empty, &class("2"), &[], &[]).passed, "without a question");
    }

    #[test]
    fn answers_that_are_no_numbers_never_pass() {
        let mut broken = of("then", &[(5, 0.7), (6, 0.3)]);
        broken.log_sum_exp = f64::NAN;
        let reference = Reference { fingerprints: vec![broken.clone()], class: class("2") };
        let control = of("control", &[(9, 1.0)]);
        assert!(!judge(&reference, &class("2"), &[broken.clone()], &[control]).passed);
        assert!(distance(&broken, &of("b", &[(5, 1.0)])).is_infinite());
    }

    #[test]
    fn distance_is_zero_for_equals_and_grows_with_difference() {
        let a = of("a", &[(1, 0.6), (2, 0.3), (3, 0.1)]);
        assert!(distance(&a, &a).abs() < 1e-9);
        let near = distance(&a, &of("b", &[(1, 0.58), (2, 0.32), (3, 0.1)]));
        let far = distance(&a, &of("c", &[(1, 0.1), (2, 0.3), (3, 0.6)]));
        let other = distance(&a, &of("d", &[(7, 0.6), (8, 0.3), (9, 0.1)]));
        assert!(near < 0.01 && near < far && far < other, "{near} {far} {other}");
        // The true divergence of these two is 0.6 ln 6 + 0.1 ln (1/6).
        assert!((far - 0.5 * 6.0_f64.ln()).abs() < 1e-6, "{far}");
    }
}
