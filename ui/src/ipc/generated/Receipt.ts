// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { Check } from "./Check";
import type { Reason } from "./Reason";
import type { ResumePath } from "./ResumePath";

/**
 * What was done to be ready for an answer, and what it cost. The same as `reprise-cli` prints.
 */
export type Receipt = {
/**
 * What was done.
 */
path: ResumePath,
/**
 * Why it was not something cheaper.
 */
reason: Reason | null,
/**
 * Tokens of the prompt.
 */
tokens_total: number,
/**
 * Of these, tokens that did not have to be decoded again.
 */
tokens_reused: number,
/**
 * Of these, tokens decoded.
 */
tokens_decoded: number,
/**
 * Bytes of state that were read.
 */
bytes_read: number,
/**
 * From the request to the end of the prompt, in milliseconds, loading the model not included.
 */
ms: number,
/**
 * Of that, reading state.
 */
ms_bytes: number | null,
/**
 * Of that, proving it.
 */
ms_challenge: number | null,
/**
 * What decoding the whole prompt would have taken.
 */
estimated_replay_ms: number | null,
/**
 * The checks, in the order they were made.
 */
checks: Array<Check>, };
