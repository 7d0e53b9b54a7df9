// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { AppError } from "./AppError";

/**
 * What a check of all snapshots reports; the last one is `Done` or `Failed`.
 */
export type VerifyUpdate = { "kind": "progress",
/**
 * Snapshots checked.
 */
checked: number,
/**
 * Of so many.
 */
of: number,
/**
 * Bytes read.
 */
bytes: number, } | { "kind": "done",
/**
 * Snapshots that are whole.
 */
whole: number,
/**
 * Snapshots that were damaged and were removed.
 */
removed: number,
/**
 * Bytes read.
 */
bytes: number,
/**
 * What it took, in milliseconds.
 */
ms: number,
/**
 * Whether it was stopped before it had seen all.
 */
stopped: boolean, } | { "kind": "failed",
/**
 * Why, and what to do.
 */
error: AppError, };
