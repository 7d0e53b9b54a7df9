// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * A snapshot as a list shows it.
 */
export type SnapshotRow = {
/**
 * Its id.
 */
id: string,
/**
 * The conversation it is of.
 */
conversation: string,
/**
 * That conversation's title; may be empty.
 */
title: string,
/**
 * Name of the model the conversation was last used with.
 */
model: string | null,
/**
 * Tokens it has seen.
 */
tokens: number,
/**
 * Bytes of the state.
 */
bytes: number,
/**
 * When it was saved, in milliseconds since 1970.
 */
created: number,
/**
 * When it was last used, in milliseconds since 1970.
 */
used: number,
/**
 * Whether it is never evicted.
 */
pinned: boolean,
/**
 * Why it is not used any more, where it failed a check.
 */
quarantined: string | null, };
