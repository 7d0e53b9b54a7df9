// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { Receipt } from "./Receipt";

/**
 * How a conversation was made ready, and when.
 */
export type Resumed = {
/**
 * When, in milliseconds since 1970.
 */
at: number,
/**
 * What was done.
 */
receipt: Receipt, };
