// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * How far a message got.
 */
export type MessageState = "complete" | "streaming" | "stopped" | "interrupted";
