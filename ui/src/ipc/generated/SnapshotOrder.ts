// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * How the list of snapshots is sorted.
 */
export type SnapshotOrder = "size" | "age" | "used";
