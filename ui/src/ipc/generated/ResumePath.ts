// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * How a conversation's KV cache came to hold its prompt.
 */
export type ResumePath = "fresh" | "live" | "restored" | "replayed";
