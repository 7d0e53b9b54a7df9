// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * A model file that was used or chosen before.
 */
export type ModelRow = {
/**
 * Its id; the page never names a path.
 */
id: string,
/**
 * Name for people.
 */
name: string,
/**
 * Where it lies, to be shown only.
 */
path: string,
/**
 * Size in bytes; `None` where the file is missing.
 */
bytes: number | null,
/**
 * Whether new conversations use it.
 */
chosen: boolean, };
