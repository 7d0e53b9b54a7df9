// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Light or dark.
 */
export type Theme = "system" | "light" | "dark";
