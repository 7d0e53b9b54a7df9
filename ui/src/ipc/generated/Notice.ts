// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * What there is to say about how a message came to be.
 */
export type Notice = {
/**
 * Stable `snake_case` word, as in [`crate::AppError`]; `None` where it was written before there were any.
 */
code: string | null,
/**
 * One sentence.
 */
message: string, };
