// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Which key sends a message.
 */
export type SendKey = "enter" | "ctrl_enter";
