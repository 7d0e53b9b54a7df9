// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { AppError } from "./AppError";
import type { EngineView } from "./EngineView";
import type { ModelChoice } from "./ModelChoice";

/**
 * What happens without having been asked for.
 */
export type AppEvent = { "kind": "engine",
/**
 * What it is now.
 */
engine: EngineView, } | { "kind": "engine_lost",
/**
 * How, and what is safe.
 */
error: AppError, } | { "kind": "not_saved",
/**
 * Why, and what to do about it.
 */
error: AppError, } | { "kind": "saved",
/**
 * Of this conversation.
 */
conversation: string,
/**
 * When, in milliseconds since 1970.
 */
at: number, } | { "kind": "marks" } | { "kind": "dragging",
/**
 * Whether they are over it.
 */
over: boolean, } | { "kind": "dropped",
/**
 * What came of it.
 */
choice: ModelChoice, };
