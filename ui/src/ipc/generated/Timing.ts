// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * What an answer took.
 */
export type Timing = {
/**
 * Loading the model, in milliseconds; `None` where it was loaded already.
 */
load_ms: number | null,
/**
 * From the request to being ready to read what is new in the prompt, in milliseconds.
 */
resume_ms: number,
/**
 * From the request to the first token, in milliseconds; `None` where there was none.
 */
ttft_ms: number | null,
/**
 * Prompt tokens decoded.
 */
prefill_tokens: number,
/**
 * Prompt tokens per second.
 */
prefill_tok_s: number | null,
/**
 * Tokens sampled.
 */
decode_tokens: number,
/**
 * Sampled tokens per second.
 */
decode_tok_s: number | null, };
