// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Who speaks.
 */
export type Speaker = "user" | "assistant";
