// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Why a path was taken.
 */
export type Reason = {
/**
 * Stable snake-case word: `no_snapshot`, `integrity`, `identity`, …
 */
code: string,
/**
 * One sentence, in English.
 */
message: string,
/**
 * Of `identity`: what differs, as a stable snake-case word.
 */
field: string | null, };
