// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { Checkpoint } from "./Checkpoint";
import type { Choices } from "./Choices";
import type { MessageView } from "./MessageView";

/**
 * An opened conversation: the branch that is shown, from its first message to its last.
 */
export type ConversationView = {
/**
 * Its id.
 */
id: string,
/**
 * Its title; may be empty.
 */
title: string,
/**
 * The model it was last used with, as a name for people.
 */
model: string | null,
/**
 * Its system prompt, where it has one.
 */
system: string | null,
/**
 * The branch that is shown, without the system prompt.
 */
messages: Array<MessageView>,
/**
 * What was typed and not sent.
 */
draft: string,
/**
 * What the person chose for this conversation.
 */
choices: Choices,
/**
 * Places that the person gave a name, in all branches, the first one first.
 */
checkpoints: Array<Checkpoint>, };
