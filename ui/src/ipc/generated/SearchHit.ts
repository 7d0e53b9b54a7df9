// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { SnippetPart } from "./SnippetPart";

/**
 * One place where a search found its words.
 */
export type SearchHit = {
/**
 * The conversation.
 */
conversation: string,
/**
 * The message; `None` where the title matches.
 */
message: string | null,
/**
 * The conversation's title.
 */
title: string,
/**
 * The matching part of the text, in pieces.
 */
snippet: Array<SnippetPart>, };
