// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { QualificationRow } from "./QualificationRow";

/**
 * All that was found out.
 */
export type Qualifications = {
/**
 * The latest first.
 */
rows: Array<QualificationRow>,
/**
 * Name of the loaded model, for which it can be found out now; `None` where none is loaded.
 */
loaded: string | null, };
