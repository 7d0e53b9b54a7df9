// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Why nothing was done to make a conversation ready.
 */
export type NotYet = "busy" | "not_loaded" | "other_model" | "nothing";
