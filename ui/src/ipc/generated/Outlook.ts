// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { Crossing } from "./Crossing";
import type { EditCost } from "./EditCost";
import type { Mark } from "./Mark";

/**
 * What it will cost to go on with a conversation.
 */
export type Outlook = {
/**
 * The conversation.
 */
conversation: string,
/**
 * Tokens of the branch that is shown; estimated from the text where they were never counted.
 */
tokens: number,
/**
 * Reading all of them, in milliseconds, at the pace measured here with the model that would answer;
 * `None` where none was measured yet.
 */
replay_ms: number | null,
/**
 * Whether it opens at once.
 */
mark: Mark,
/**
 * What writing a message anew means, for each message of the person.
 */
edits: Array<EditCost>,
/**
 * Set where another model than the chosen one wrote the last answer.
 */
crossing: Crossing | null, };
