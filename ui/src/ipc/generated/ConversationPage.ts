// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { ConversationRow } from "./ConversationRow";

/**
 * Part of the list of conversations, the one that changed last first.
 */
export type ConversationPage = {
/**
 * The rows from `offset` on.
 */
rows: Array<ConversationRow>,
/**
 * Where in the whole list they begin.
 */
offset: number,
/**
 * Rows in the whole list.
 */
total: number, };
