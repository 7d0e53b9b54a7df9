// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { Verdict } from "./Verdict";

/**
 * What was found out for one model on one device.
 */
export type QualificationRow = {
/**
 * Name of the model, for people.
 */
model: string,
/**
 * What computes: `CPU`, or a device's name.
 */
device: string,
/**
 * Where the KV cache lies: `host` or `device`.
 */
kv_place: string,
/**
 * Type of the KV cache: `f16` or `q8_0`.
 */
kv_type: string,
/**
 * What it came to.
 */
verdict: Verdict,
/**
 * Why it failed, in English.
 */
why: string | null,
/**
 * When, in milliseconds since 1970.
 */
at: number,
/**
 * Whether it is of the engine, device and settings of now.
 */
current: boolean, };
