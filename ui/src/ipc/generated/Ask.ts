// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * What the person asks of a conversation.
 */
export type Ask = { "kind": "begin",
/**
 * The message.
 */
text: string, } | { "kind": "continue",
/**
 * In this conversation.
 */
conversation: string,
/**
 * Behind the last message that is shown.
 */
text: string, } | { "kind": "edit",
/**
 * The person's message.
 */
message: string,
/**
 * What it says now.
 */
text: string, } | { "kind": "regenerate",
/**
 * The answer.
 */
answer: string, } | { "kind": "retry",
/**
 * The person's message.
 */
message: string, };
