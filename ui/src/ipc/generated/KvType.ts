// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Type of the elements of the KV cache.
 */
export type KvType = "f16" | "q8_0";
