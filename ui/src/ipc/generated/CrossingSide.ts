// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Going on with one of them.
 */
export type CrossingSide = {
/**
 * Id in the list of models; `None` where it is not in it any more, or its file is gone.
 */
model: string | null,
/**
 * Name for people.
 */
name: string,
/**
 * Loading it, in milliseconds; 0 where it is loaded, `None` where that was never measured.
 */
load_ms: number | null,
/**
 * Whether a snapshot fits it.
 */
instant: boolean,
/**
 * Getting ready once it is loaded, in milliseconds; `None` where nothing was measured.
 */
ready_ms: number | null, };
