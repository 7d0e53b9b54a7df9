// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * What the engine is doing.
 */
export type EnginePhase = { "kind": "absent" } | { "kind": "idle" } | { "kind": "loading",
/**
 * 0 to 1.
 */
fraction: number, } | { "kind": "ready" } | { "kind": "answering",
/**
 * In this conversation.
 */
conversation: string, };
