// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Why a conversation is to be made ready.
 */
export type ResumeTrigger = "opened" | "composing" | "replay";
