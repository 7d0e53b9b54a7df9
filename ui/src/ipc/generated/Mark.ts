// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { Reason } from "./Reason";

/**
 * Whether a conversation opens at once, as far as can be told without reading its state. A hint, not a proof.
 */
export type Mark = {
/**
 * The conversation.
 */
conversation: string,
/**
 * Whether a snapshot of it, or what is live, fits the model and settings that would answer now.
 */
instant: boolean,
/**
 * Where it does not: why.
 */
reason: Reason | null, };
