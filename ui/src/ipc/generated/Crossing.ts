// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { CrossingSide } from "./CrossingSide";

/**
 * The two models between which a conversation stands.
 */
export type Crossing = {
/**
 * The one that wrote the last answer.
 */
before: CrossingSide,
/**
 * The chosen one, which would write the next.
 */
now: CrossingSide, };
