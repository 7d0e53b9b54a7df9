// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { KvType } from "./KvType";
import type { Language } from "./Language";
import type { SendKey } from "./SendKey";
import type { Theme } from "./Theme";

/**
 * What the person chose in Settings › General.
 */
export type Settings = {
/**
 * Light or dark.
 */
theme: Theme,
/**
 * The language of the window.
 */
language: Language,
/**
 * Interface size in per cent, 80 to 200.
 */
scale: number,
/**
 * Which key sends.
 */
send_key: SendKey,
/**
 * Whether answers show their rate, time and tokens.
 */
statistics: boolean,
/**
 * Whether the sidebar is shown.
 */
sidebar: boolean,
/**
 * Instructions that new conversations begin with; may be empty.
 */
system_prompt: string,
/**
 * Temperature of the sampling; `None`: llama.cpp's default.
 */
temperature: number | null,
/**
 * Context in tokens; `None`: the model's own within a default.
 */
n_ctx: number | null,
/**
 * Type of the KV cache, and so the size of snapshots.
 */
kv_type: KvType, };
