// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { AppError } from "./AppError";
import type { ModelRow } from "./ModelRow";

/**
 * What came of files that were dropped on the window, or picked.
 */
export type ModelChoice = { "kind": "chosen",
/**
 * All models that are known.
 */
models: Array<ModelRow>, } | { "kind": "refused",
/**
 * Why, and what to do.
 */
error: AppError, } | { "kind": "cancelled" };
