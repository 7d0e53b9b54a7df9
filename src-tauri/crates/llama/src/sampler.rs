//! From [`Sampling`] to llama.cpp's sampler chain, in llama.cpp's own order.

use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use reprise_engine::message::Sampling;

/// llama.cpp takes this seed for "choose one yourself".
const SEED_THAT_MEANS_ANY: u32 = u32::MAX;

/// Below this a temperature only ever chooses the likeliest token, and logits divided by it overflow.
const COLDEST: f32 = 1e-6;

/// Builds the chain and shows it the tokens so far, so that penalties count over the prompt as they
/// would have in an uninterrupted run. `LlamaSampler::sample` accepts what it chooses.
///
/// Values that mean nothing (not a number, infinite, a penalty of zero or less) switch their step off;
/// a temperature that means nothing is greedy.
pub(crate) fn build(sampling: &Sampling, n_vocab: i32, n_ctx: u32, so_far: &[LlamaToken]) -> LlamaSampler {
    let mut chain = Vec::new();
    // llama.cpp sets memory aside for as many tokens as it is told; there are never more than these.
    let last_n = sampling.repeat_last_n.min(n_ctx);
    let penalty = sampling.repeat_penalty;
    let penalise = last_n > 0 && penalty.is_finite() && penalty > 0.0 && (penalty - 1.0).abs() > f32::EPSILON;
    if penalise {
        let last_n = i32::try_from(last_n).unwrap_or(i32::MAX);
        chain.push(LlamaSampler::penalties(n_vocab, last_n, penalty, 0.0, 0.0));
    }
    if sampling.temperature.is_finite() && sampling.temperature > COLDEST {
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
        let seed = sampling.seed;
        chain.push(LlamaSampler::dist(if seed == SEED_THAT_MEANS_ANY { 0 } else { seed }));
    } else {
        chain.push(LlamaSampler::greedy());
    }
    let mut sampler = LlamaSampler::chain_simple(chain);
    if penalise {
        let first = so_far.len().saturating_sub(last_n as usize);
        sampler.accept_many(&so_far[first..]);
    }
    sampler
}

#[cfg(test)]
mod tests {
    use llama_cpp_2::token::data::LlamaTokenData;
    use llama_cpp_2::token::data_array::LlamaTokenDataArray;

    use super::*;

    /// What is chosen of four tokens, of which the last is the likeliest, behind `so_far`.
    fn choice(sampling: &Sampling, so_far: &[i32]) -> i32 {
        let so_far: Vec<LlamaToken> = so_far.iter().map(|id| LlamaToken(*id)).collect();
        let mut sampler = build(sampling, 4, 256, &so_far);
        let logits = [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)];
        let data = logits.map(|(id, logit)| LlamaTokenData::new(LlamaToken(id), logit, 0.0));
        let mut candidates = LlamaTokenDataArray::new(data.to_vec(), false);
        sampler.apply(&mut candidates);
        candidates.selected_token().unwrap().0
    }

    fn greedy() -> Sampling {
        Sampling { temperature: 0.0, ..Sampling::default() }
    }

    #[test]
    fn a_temperature_that_means_nothing_is_greedy() {
        let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 0.0, 1e-38, f32::MIN_POSITIVE];
        for temperature in strange {
            for seed in 0..8 {
                let sampling = Sampling { temperature, seed, ..Sampling::default() };
                assert_eq!(choice(&sampling, &[]), 3, "{temperature}");
            }
        }
    }

    #[test]
    fn a_penalty_that_means_nothing_is_none() {
        for repeat_penalty in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -2.0, 0.0, 1.0] {
            let sampling = Sampling { repeat_penalty, ..greedy() };
            assert_eq!(choice(&sampling, &[3, 3]), 3, "{repeat_penalty}");
        }
        // The control, also with a memory that no machine has.
        for repeat_last_n in [2, u32::MAX] {
            let sampling = Sampling { repeat_penalty: 2.0, repeat_last_n, ..greedy() };
            assert_eq!(choice(&sampling, &[3, 0]), 2);
            assert_eq!(choice(&sampling, &[0, 1]), 3);
        }
        let short = Sampling { repeat_penalty: 2.0, repeat_last_n: 1, ..greedy() };
        assert_eq!(choice(&short, &[3, 0]), 3);
    }

    #[test]
    fn strange_limits_still_leave_a_choice() {
        for (top_k, top_p, min_p) in [
            (i32::MAX, 1.0, 0.0),
            (i32::MIN, f32::NAN, f32::NAN),
            (1, f32::INFINITY, 0.0),
            (0, 0.0, 0.0),
            (0, -1.0, f32::INFINITY),
            (0, f32::NEG_INFINITY, 9.0),
        ] {
            let sampling = Sampling { top_k, top_p, min_p, ..Sampling::default() };
            assert!((0..4).contains(&choice(&sampling, &[])), "{sampling:?}");
        }
    }

    #[test]
    fn every_seed_means_itself() {
        let choices = |seed| {
            let hot = Sampling { temperature: 50.0, top_p: 1.0, min_p: 0.0, seed, ..Sampling::default() };
            let mut sampler = build(&hot, 4, 256, &[]);
            let mut draw = || {
                let data = (0..4).map(|id| LlamaTokenData::new(LlamaToken(id), 1.0, 0.0));
                let mut candidates = LlamaTokenDataArray::new(data.collect(), false);
                sampler.apply(&mut candidates);
                candidates.selected_token().unwrap().0
            };
            (0..32).map(|_| draw()).collect::<Vec<_>>()
        };
        for seed in [0, 1, u32::MAX - 1, u32::MAX] {
            assert_eq!(choices(seed), choices(seed), "{seed}");
        }
        assert_ne!(choices(1), choices(2));
    }
}
