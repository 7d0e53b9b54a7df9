//! Decoding tokens at a position of the one sequence that every context here has.

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;
use reprise_engine::Fault;
use reprise_engine::message::TokenId;

/// Decodes tokens from position `from` on, in one call; logits are kept for the last. After an error the context
/// may hold half of them.
pub(crate) fn decode_at(
    context: &mut LlamaContext<'_>,
    from: usize,
    tokens: &[TokenId],
) -> Result<(), Fault> {
    let failed = |detail: String| Fault::DecodeFailed { detail };
    let mut batch = LlamaBatch::new(tokens.len().max(1), 1);
    for (index, token) in tokens.iter().enumerate() {
        let position = i32::try_from(from + index).map_err(|e| failed(e.to_string()))?;
        let last = index + 1 == tokens.len();
        batch.add(LlamaToken(token.0), position, &[0], last).map_err(|e| failed(e.to_string()))?;
    }
    context.decode(&mut batch).map_err(|error| failed(error.to_string()))
}
