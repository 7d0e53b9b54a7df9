// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { SnapshotRow } from "./SnapshotRow";

/**
 * A part of the list of snapshots.
 */
export type SnapshotPage = {
/**
 * The rows from `offset` on.
 */
rows: Array<SnapshotRow>,
/**
 * Where in the whole list they begin.
 */
offset: number,
/**
 * Rows in the whole list.
 */
total: number, };
