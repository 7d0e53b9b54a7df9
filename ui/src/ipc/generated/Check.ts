// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * One check of a snapshot.
 */
export type Check = {
/**
 * `integrity`, `identity`, `tokens`, `restore` or `challenge`.
 */
name: string,
/**
 * Whether it passed.
 */
ok: boolean,
/**
 * What it took, in milliseconds.
 */
ms: number,
/**
 * What was measured, in English.
 */
detail: string, };
