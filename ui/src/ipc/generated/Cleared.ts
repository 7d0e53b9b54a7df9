// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * What was removed.
 */
export type Cleared = {
/**
 * Snapshots.
 */
snapshots: number,
/**
 * Bytes that are free again.
 */
bytes: number, };
