// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * The language of the window.
 */
export type Language = "system" | "en" | "zh-CN";
