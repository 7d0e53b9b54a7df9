// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { AppError } from "./AppError";

/**
 * What snapshots take, and may take.
 */
export type StorageView = {
/**
 * Snapshots that are kept.
 */
snapshots: number,
/**
 * Of these, pinned ones.
 */
pinned: number,
/**
 * Bytes that all of them take together: what they share counts once.
 */
bytes: number,
/**
 * Bytes that they may take.
 */
budget: number,
/**
 * What that is where the person chose nothing.
 */
default_budget: number,
/**
 * Whether the person chose it.
 */
chosen: boolean,
/**
 * Bytes that are free on the disk; `None` where that cannot be told.
 */
free: number | null,
/**
 * Bytes of the history: messages, which nothing evicts.
 */
history: number,
/**
 * The folder, to be shown only.
 */
folder: string,
/**
 * Why there are no snapshots at all, where their file cannot be opened.
 */
unusable: AppError | null, };
