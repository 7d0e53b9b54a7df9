// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Why an answer ended.
 */
export type StopReason = "end" | "length" | "cancelled" | "failed";
