// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { AppError } from "./AppError";
import type { NotYet } from "./NotYet";
import type { Reason } from "./Reason";
import type { Resumed } from "./Resumed";

/**
 * What making a conversation ready reports, in this order; the last one is `Ready`, `NotYet`, `Stopped` or
 * `Failed`.
 */
export type ResumeUpdate = { "kind": "loading",
/**
 * 0 to 1.
 */
fraction: number, } | { "kind": "checking" } | { "kind": "reading",
/**
 * Tokens decoded.
 */
done: number,
/**
 * Tokens to decode.
 */
of: number,
/**
 * Tokens per second so far, where it can be told.
 */
tok_s: number | null,
/**
 * Time that is left at that rate, in milliseconds, where it can be told.
 */
left_ms: number | null,
/**
 * Why no snapshot is used, where there is something to say.
 */
reason: Reason | null, } | { "kind": "ready",
/**
 * The last message that is in the KV cache now.
 */
message: string,
/**
 * What was done for it; `None` where it was ready already.
 */
resumed: Resumed | null, } | { "kind": "not_yet",
/**
 * Why.
 */
why: NotYet, } | { "kind": "stopped" } | { "kind": "failed",
/**
 * Why, and what to do.
 */
error: AppError, };
