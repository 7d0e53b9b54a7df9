// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * What the app is.
 */
export type AppInfo = {
/**
 * The product's name, as shown.
 */
name: string,
/**
 * Semantic version, without a leading `v`.
 */
version: string, };
