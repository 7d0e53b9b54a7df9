//! Whether states of the loaded model survive here: taken out, set again, set in a new context, and
//! continued, against a run that nothing interrupted. In contexts of their own; what is live stays.

use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use reprise_engine::Fault;
use reprise_engine::message::{CacheKind, Event, TokenId};
use reprise_engine::qualify::{Qualified, QualifySpec};

use super::{Session, count, ms_since};
use crate::challenge::{self, PROBES};
use crate::decode::decode_at;
use crate::ggml;
use crate::model::PREFILL_BATCH;
use crate::outbox::Reply;

/// Cells by which a windowed cache may be larger than window and batch: llama.cpp rounds up.
const ROUNDING: u32 = 256;

/// One continuation: logits after each of its tokens.
struct Continuation {
    tokens: Vec<TokenId>,
    logits: Vec<Vec<f32>>,
}

impl Session<'_> {
    /// Runs the comparison. What is wrong with states is an answer; an error means that nothing could be
    /// compared, because there is no memory for another context, say, or nobody wants to know any more.
    pub(crate) fn qualify(&self, spec: QualifySpec, reply: &Reply) -> Result<Qualified, Fault> {
        let began = Instant::now();
        let tokens = self.passage(self.depth(spec));
        let size = count(tokens.len()).saturating_add(spec.steps).saturating_add(8);
        let probe = self.tokenizer.probe(PROBES[0]);
        let Some(question) = probe.first().copied() else {
            return Err(Fault::StateUnavailable {
                detail: "its vocabulary does not spell the questions".to_owned(),
            });
        };
        let mut done = Qualified { tokens: count(tokens.len()), class: self.class(), ..Qualified::default() };

        let mut context = self.loaded.new_context_of(size, self.llama, self.captured)?;
        let control = step(&mut context, 0, question)?;
        context.clear_kv_cache();
        for (index, batch) in tokens.chunks(PREFILL_BATCH as usize).enumerate() {
            if reply.cancelled() {
                return Err(Fault::Cancelled);
            }
            let from = index * PREFILL_BATCH as usize;
            decode_at(&mut context, from, batch)?;
            reply.send(Event::Prefill { done: count(from + batch.len()) });
        }
        let mut image = Vec::new();
        if !self.access.get(&context, &mut image) {
            done.fault = Some("llama.cpp gave another number of bytes than it had announced".to_owned());
            return Ok(done);
        }
        done.state_bytes = image.len() as u64;
        let end = tokens.len();

        let uninterrupted = go_on(&mut context, end, question, spec.steps, reply)?;
        let again = match self.set_and_follow(&mut context, &image, end, &uninterrupted.tokens, reply) {
            Ok(logits) => logits?,
            Err(why) => return Ok(Qualified { fault: Some(why), ms: ms_since(began), ..done }),
        };
        drop(context);
        let mut context = self.loaded.new_context_of(size, self.llama, self.captured)?;
        let restored = match self.set_and_follow(&mut context, &image, end, &uninterrupted.tokens, reply) {
            Ok(logits) => logits?,
            Err(why) => return Ok(Qualified { fault: Some(why), ms: ms_since(began), ..done }),
        };

        let bits = |logits: &[Vec<f32>]| -> Vec<String> {
            logits.iter().map(|logits| challenge::fingerprint(&[], logits).hash).collect()
        };
        let restored_bits = bits(&restored);
        done.repeatable = restored_bits == bits(&again);
        done.identical = restored_bits == bits(&uninterrupted.logits);
        done.steps = count(restored.len());
        let divergences: Vec<f64> =
            uninterrupted.logits.iter().zip(&restored).map(|(then, now)| divergence(then, now)).collect();
        done.challenge_kl = divergences.first().copied().unwrap_or(f64::MAX);
        // JSON knows no infinity.
        done.mean_kl = (divergences.iter().sum::<f64>() / f64::from(done.steps.max(1))).min(f64::MAX);
        done.control_kl = uninterrupted.logits.first().map_or(0.0, |then| divergence(then, &control));
        for (then, now) in uninterrupted.logits.iter().zip(&restored) {
            done.max_logit_difference = done.max_logit_difference.max(largest_difference(then, now));
            done.same_tokens += u32::from(likeliest(then) == likeliest(now));
        }
        done.ms = ms_since(began);
        Ok(done)
    }

    /// Tokens to read: so many that a window has gone all the way round its cells, and stands in the middle of
    /// them.
    fn depth(&self, spec: QualifySpec) -> u32 {
        let window =
            if self.info.cache == CacheKind::Full { 0 } else { ggml::traits(&self.loaded.model).window };
        let round =
            if window == 0 { 0 } else { window.saturating_add(PREFILL_BATCH).saturating_add(ROUNDING + 37) };
        let trained = match self.info.n_ctx_train {
            0 => u32::MAX,
            trained => trained.saturating_sub(spec.steps.saturating_add(8)),
        };
        spec.tokens.max(round).min(trained).max(1)
    }

    /// A text of so many tokens, whose every line says something else.
    fn passage(&self, tokens: u32) -> Vec<TokenId> {
        const WORDS: [&str; 16] = [
            "harbour", "copper", "winter", "lantern", "violin", "seven", "garden", "thunder", "paper",
            "river", "orange", "bridge", "silver", "basket", "morning", "stone",
        ];
        let wanted = tokens as usize;
        let mut read = Vec::with_capacity(wanted);
        read.extend(crate::splice::Vocabulary::bos(&self.tokenizer));
        let mut line = 0_usize;
        // A step that shares no factor with the number of words takes them in another order each line.
        let word = |n: usize| WORDS[n * 5 % WORDS.len()];
        while read.len() < wanted {
            let [a, b, c] = [line * 3, line * 3 + 1 + line / 7, line * 7 + 2].map(word);
            let text = format!("Entry {line}: the {a} and the {b} were left beside the {c}.\n");
            read.extend(crate::splice::Vocabulary::tokenize(&self.tokenizer, text.as_bytes()));
            line += 1;
        }
        read.truncate(wanted.max(1));
        read
    }

    /// Sets the image in a context and computes what follows with the tokens of another run. The outer
    /// error says what is wrong with the state, the inner one that nobody can tell.
    fn set_and_follow(
        &self,
        context: &mut LlamaContext<'_>,
        image: &[u8],
        end: usize,
        tokens: &[TokenId],
        reply: &Reply,
    ) -> Result<Result<Vec<Vec<f32>>, Fault>, String> {
        context.clear_kv_cache();
        self.put(context, image, end)?;
        let mut logits = Vec::with_capacity(tokens.len());
        for (index, token) in tokens.iter().enumerate() {
            if reply.cancelled() {
                return Ok(Err(Fault::Cancelled));
            }
            match step(context, end + index, *token) {
                Ok(found) => {
                    logits.push(found);
                    // A large model takes seconds for each, and silence would be taken for its end.
                    reply.send(Event::Prefill { done: count(end + index + 1) });
                }
                Err(fault) => return Ok(Err(fault)),
            }
        }
        Ok(Ok(logits))
    }
}

/// Goes on from the question with the likeliest token each time.
fn go_on(
    context: &mut LlamaContext<'_>,
    end: usize,
    question: TokenId,
    steps: u32,
    reply: &Reply,
) -> Result<Continuation, Fault> {
    let mut continuation = Continuation { tokens: Vec::new(), logits: Vec::new() };
    let mut token = question;
    for index in 0..steps.max(1) as usize {
        if reply.cancelled() {
            return Err(Fault::Cancelled);
        }
        let logits = step(context, end + index, token)?;
        continuation.tokens.push(token);
        token = likeliest(&logits);
        continuation.logits.push(logits);
        reply.send(Event::Prefill { done: count(end + index + 1) });
    }
    Ok(continuation)
}

fn step(context: &mut LlamaContext<'_>, position: usize, token: TokenId) -> Result<Vec<f32>, Fault> {
    decode_at(context, position, &[token])?;
    Ok(context.get_logits_ith(0).to_vec())
}

fn likeliest(logits: &[f32]) -> TokenId {
    let best = logits.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(id, _)| id);
    TokenId(i32::try_from(best).unwrap_or(0))
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    let largest = pairs.fold(0.0_f64, |largest, one| if one.is_nan() { f64::MAX } else { largest.max(one) });
    largest.min(f64::MAX)
}

/// Kullback-Leibler divergence of the distributions that two sets of logits give, in nats. A number that is
/// none is as far as can be: JSON knows no infinity.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let log_sum_exp = |logits: &[f32]| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
        f64::from(largest) + sum.ln()
    };
    let (p_total, q_total) = (log_sum_exp(p), log_sum_exp(q));
    let terms = p.iter().zip(q).map(|(p, q)| {
        let (p, q) = (f64::from(*p) - p_total, f64::from(*q) - q_total);
        p.exp() * (p - q)
    });
    let divergence: f64 = terms.sum();
    if divergence.is_finite() { divergence.max(0.0) } else { f64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_that_of_the_books() {
        let logits = |probabilities: [f32; 3]| probabilities.map(f32::ln);
        let (p, q) = (logits([0.6, 0.3, 0.1]), logits([0.1, 0.3, 0.6]));
        assert!((divergence(&p, &q) - 0.5 * 6.0_f64.ln()).abs() < 1e-6);
        assert!(divergence(&p, &p).abs() < 1e-12);
        let shifted = p.map(|logit| logit + 7.0);
        assert!(divergence(&p, &shifted).abs() < 1e-6, "only differences of logits mean anything");
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let q = [broken, 0.0, 0.0];
            for far in [divergence(&p, &q), largest_difference(&p, &q)] {
                assert!(far > 1.0 && far.is_finite(), "{broken}: {far}");
            }
        }
    }
}
