// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * What has to be read when a message is written anew.
 */
export type EditCost = {
/**
 * The message.
 */
message: string,
/**
 * Tokens to read, the message's own included.
 */
tokens: number,
/**
 * Reading them, in milliseconds; `None` where no pace was measured.
 */
ms: number | null, };
