// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Why something asked for did not happen. The only error that crosses to the UI.
 */
export type AppError = {
/**
 * Stable `snake_case` word, for code that branches on it: `data_dir_busy`.
 */
code: string,
/**
 * One sentence: what happened, and what is safe.
 */
message: string,
/**
 * One sentence: what to do next.
 */
remedy: string, };
