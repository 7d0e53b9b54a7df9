// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * A conversation as a list shows it.
 */
export type ConversationRow = {
/**
 * Its id.
 */
id: string,
/**
 * Its title; may be empty.
 */
title: string,
/**
 * When it last changed, in milliseconds since 1970.
 */
updated: number,
/**
 * Messages in all branches, system prompts not counted.
 */
messages: number,
/**
 * Name of the model it was last used with.
 */
model: string | null, };
