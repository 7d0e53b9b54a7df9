import type { ConversationView } from "../ipc/generated/ConversationView";
import type { MessageView } from "../ipc/generated/MessageView";

/** A message with what a test does not care about filled in. */
export function message(id: string, more: Partial<MessageView> = {}): MessageView {
  return {
    id,
    parent: null,
    speaker: "user",
    text: `text of ${id}`,
    state: "complete",
    stop: null,
    notice: null,
    damaged: false,
    created: 0,
    versions: [id],
    receipt: null,
    resumes: [],
    resumes_before: 0,
    timing: null,
    model: null,
    ...more,
  };
}

export const answer = (id: string, parent: string, more: Partial<MessageView> = {}) =>
  message(id, { parent, speaker: "assistant", ...more });

/** A conversation with these messages. */
export const view = (
  id: string,
  messages: MessageView[],
  more: Partial<ConversationView> = {},
): ConversationView => ({
  id,
  title: "T",
  model: null,
  system: null,
  messages,
  draft: "",
  choices: { always_replay: false, always_cpu: false },
  checkpoints: [],
  ...more,
});
