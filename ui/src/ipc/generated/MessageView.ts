// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { MessageState } from "./MessageState";
import type { Notice } from "./Notice";
import type { Receipt } from "./Receipt";
import type { Resumed } from "./Resumed";
import type { Speaker } from "./Speaker";
import type { StopReason } from "./StopReason";
import type { Timing } from "./Timing";

/**
 * A message of the branch that is shown.
 */
export type MessageView = {
/**
 * Its id.
 */
id: string,
/**
 * The message that it follows.
 */
parent: string | null,
/**
 * Who speaks.
 */
speaker: Speaker,
/**
 * What was said, in Markdown where the model speaks.
 */
text: string,
/**
 * How far it got.
 */
state: MessageState,
/**
 * Why an answer ended.
 */
stop: StopReason | null,
/**
 * How it came to be, where there is something to say.
 */
notice: Notice | null,
/**
 * Whether the disk gave back something else than what was written.
 */
damaged: boolean,
/**
 * When it was begun, in milliseconds since 1970.
 */
created: number,
/**
 * All versions beside this one and itself, oldest first: what `‹ 2/3 ›` steps through.
 */
versions: Array<string>,
/**
 * How the conversation came into the KV cache for this answer.
 */
receipt: Receipt | null,
/**
 * How the conversation was made ready again when it was opened at this message, the last few times; the
 * latest last.
 */
resumes: Array<Resumed>,
/**
 * How many more there were before these.
 */
resumes_before: number,
/**
 * What this answer took.
 */
timing: Timing | null,
/**
 * Name of the model that wrote it.
 */
model: string | null, };
