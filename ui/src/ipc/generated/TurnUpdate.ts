// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { AppError } from "./AppError";
import type { MessageView } from "./MessageView";

/**
 * What a turn reports, in this order; the last one is `Done` or `Failed`.
 */
export type TurnUpdate = { "kind": "kept",
/**
 * Where.
 */
conversation: string,
/**
 * The conversation's title.
 */
title: string,
/**
 * The message; for `Regenerate` and `Retry` the one that is answered.
 */
message: MessageView, } | { "kind": "queued" } | { "kind": "loading",
/**
 * 0 to 1.
 */
fraction: number, } | { "kind": "retrying",
/**
 * How it was lost.
 */
error: AppError, } | { "kind": "prepared",
/**
 * Tokens of the prompt.
 */
tokens: number,
/**
 * Of these, reused.
 */
reused: number, } | { "kind": "reading",
/**
 * Tokens decoded.
 */
done: number,
/**
 * Tokens to decode.
 */
of: number,
/**
 * Time that is left at the rate so far, in milliseconds, where it can be told.
 */
left_ms: number | null, } | { "kind": "answering",
/**
 * The answer, empty so far.
 */
message: MessageView, } | { "kind": "text",
/**
 * What came since the last update.
 */
text: string,
/**
 * Tokens sampled so far.
 */
tokens: number, } | { "kind": "not_kept",
/**
 * Why.
 */
error: AppError, } | { "kind": "done",
/**
 * The answer.
 */
message: MessageView,
/**
 * Tokens of the KV cache that the conversation takes now.
 */
context_used: number, } | { "kind": "failed",
/**
 * Why, and what to do.
 */
error: AppError,
/**
 * The part, where there is one; it is kept and marked interrupted.
 */
message: MessageView | null, };
