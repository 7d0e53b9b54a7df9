//! A bare llama.cpp loop: what the machine can do with nothing of Reprise around it. `reprise-cli bench
//! decode` runs it in the same run as the real path, as the measure of what the path costs.

use std::num::NonZeroU32;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;

use crate::ggml;
use crate::log::Captured;

/// The argument that asks for it: `reprise-engine --bare-decode MODEL TOKENS THREADS`.
pub const ARGUMENT: &str = "--bare-decode";

/// What is decoded before the clock starts; its content does not matter, its length does a little.
const PROMPT: &str = "Write a long story about the sea and the people who live beside it.";

/// Decodes `tokens` tokens greedily, ignoring the end of the answer, and prints
/// `{"tokens":…,"ms":…}`.
#[must_use]
pub fn main(model: &str, tokens: &str, threads: &str) -> ExitCode {
    match decode(Path::new(model), tokens, threads) {
        Ok(line) => {
            #[expect(clippy::print_stdout, reason = "the result is the output of this command")]
            {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn decode(model: &Path, tokens: &str, threads: &str) -> Result<String, Box<dyn std::error::Error>> {
    let tokens: i32 = tokens.parse()?;
    let threads: i32 = threads.parse()?;
    let program = std::env::current_exe()?;
    let backends = ggml::load(program.parent().unwrap_or(&program), &Captured::default());
    let llama = backends.llama.ok_or("no compute module")?;
    let params = LlamaModelParams::default().with_devices(&[])?.with_n_gpu_layers(0);
    let model = LlamaModel::load_from_file(&llama, model, &params)?;
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(u32::try_from(tokens)? + 256))
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_op_offload(false);
    let mut context = model.new_context(&llama, params)?;
    let mut sampler = LlamaSampler::greedy();
    let prompt = model.vocab().tokenize(PROMPT.as_bytes(), true, false);
    let mut batch = LlamaBatch::new(prompt.len(), 1);
    batch.add_sequence(&prompt, 0, false)?;
    context.decode(&mut batch)?;
    let first = i32::try_from(prompt.len())?;
    let mut token = sampler.sample(&context, -1);
    let started = Instant::now();
    let mut batch = LlamaBatch::new(1, 1);
    for position in first..first + tokens {
        batch.clear();
        batch.add(token, position, &[0], true)?;
        context.decode(&mut batch)?;
        token = sampler.sample(&context, -1);
    }
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    Ok(format!("{{\"tokens\":{tokens},\"ms\":{ms}}}"))
}
