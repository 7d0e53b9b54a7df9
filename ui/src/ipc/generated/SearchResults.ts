// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { SearchHit } from "./SearchHit";

/**
 * What a search found.
 */
export type SearchResults = {
/**
 * Best first.
 */
hits: Array<SearchHit>,
/**
 * What it took.
 */
ms: number, };
