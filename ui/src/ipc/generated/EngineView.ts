// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { EnginePhase } from "./EnginePhase";
import type { LoadedModel } from "./LoadedModel";

/**
 * The engine as the status bar shows it.
 */
export type EngineView = {
/**
 * What it is doing.
 */
phase: EnginePhase,
/**
 * The model that is loaded or being loaded.
 */
loaded: LoadedModel | null,
/**
 * What computes: `CPU`, or a device's name.
 */
device: string, };
