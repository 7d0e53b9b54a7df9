// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * A loaded model.
 */
export type LoadedModel = {
/**
 * Id in the list of models.
 */
id: string,
/**
 * Name for people.
 */
name: string,
/**
 * Context that it is loaded with, in tokens.
 */
n_ctx: number, };
