// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * How long a text is for the loaded model.
 */
export type TokenCount = {
/**
 * Tokens.
 */
tokens: number,
/**
 * Whether it was counted by the model's own tokeniser; else it is estimated from the length.
 */
exact: boolean, };
