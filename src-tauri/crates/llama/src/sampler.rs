//! From [`Sampling`] to llama.cpp's sampler chain, in llama.cpp's own order.

use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use reprise_engine::message::Sampling;

/// Builds the chain and shows it the tokens so far, so that penalties count over the prompt as they
/// would have in an uninterrupted run. `LlamaSampler::sample` accepts what it chooses.
pub(crate) fn build(sampling: &Sampling, n_vocab: i32, so_far: &[LlamaToken]) -> LlamaSampler {
    let mut chain = Vec::new();
    let last_n = i32::try_from(sampling.repeat_last_n).unwrap_or(i32::MAX);
    let penalise = last_n > 0 && (sampling.repeat_penalty - 1.0).abs() > f32::EPSILON;
    if penalise && sampling.repeat_penalty > 0.0 {
        chain.push(LlamaSampler::penalties(
            n_vocab,
            last_n,
            sampling.repeat_penalty,
            0.0,
            0.0,
        ));
    }
    if sampling.temperature > 0.0 {
        if sampling.top_k > 0 {
            chain.push(LlamaSampler::top_k(sampling.top_k));
        }
        if sampling.top_p < 1.0 {
            chain.push(LlamaSampler::top_p(sampling.top_p, 1));
        }
        if sampling.min_p > 0.0 {
            chain.push(LlamaSampler::min_p(sampling.min_p, 1));
        }
        chain.push(LlamaSampler::temp(sampling.temperature));
        chain.push(LlamaSampler::dist(sampling.seed));
    } else {
        chain.push(LlamaSampler::greedy());
    }
    let mut sampler = LlamaSampler::chain_simple(chain);
    if penalise {
        let first = so_far.len().saturating_sub(sampling.repeat_last_n as usize);
        sampler.accept_many(&so_far[first..]);
    }
    sampler
}
