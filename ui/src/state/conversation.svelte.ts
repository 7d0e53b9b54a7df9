import type { Checkpoint } from "../ipc/generated/Checkpoint";
import type { Choices } from "../ipc/generated/Choices";
import type { ConversationView } from "../ipc/generated/ConversationView";
import type { MessageView } from "../ipc/generated/MessageView";
import type { Resumed } from "../ipc/generated/Resumed";
import type { TurnUpdate } from "../ipc/generated/TurnUpdate";

/** So many receipts of openings the app keeps with a message. */
const KEPT_RESUMES = 8;

/** An opened conversation: the branch that is shown, and the answer that grows at its end. */
export class Conversation {
  title = $state("");
  model = $state<string | null>(null);
  system = $state<string | null>(null);
  /** What the person chose for it. */
  choices = $state.raw<Choices>({ always_replay: false, always_cpu: false });
  /** Messages of all branches that have a name. */
  checkpoints = $state.raw<readonly Checkpoint[]>([]);
  /** The branch that is shown. The array is replaced, never changed. */
  messages = $state.raw<readonly MessageView[]>([]);
  /** Id of the answer that is being written, the last of `messages`. */
  growing = $state<string | null>(null);
  /** What it says so far. Kept apart, so that a piece of text changes one row and not the list. */
  grown = $state("");
  private exactUse = $state<number | null>(null);

  /** Tokens of the KV cache that the shown branch takes, where an answer or an opening said it. */
  readonly contextUsed = $derived(this.exactUse ?? lastUse(this.messages));

  constructor(readonly id: string) {}

  /** Shows a branch as the app has it. */
  show(view: ConversationView): void {
    this.title = view.title;
    this.model = view.model;
    this.system = view.system;
    this.choices = view.choices;
    this.checkpoints = view.checkpoints;
    this.messages = view.messages;
    this.growing = null;
    this.grown = "";
    this.exactUse = null;
  }

  /** The shown message with this id. */
  find(id: string): MessageView | undefined {
    return this.messages.find((message) => message.id === id);
  }

  /** The name of a message, where it has one. */
  named(message: string): Checkpoint | undefined {
    return this.checkpoints.find((point) => point.message === message);
  }

  /** The message before this one. */
  before(id: string): MessageView | undefined {
    const at = this.messages.findIndex((message) => message.id === id);
    return at > 0 ? this.messages[at - 1] : undefined;
  }

  /** Takes in what a turn of this conversation reports. */
  hear(update: TurnUpdate): void {
    switch (update.kind) {
      case "kept":
        this.title = update.title;
        this.messages = [...this.upto(update.message), update.message];
        this.growing = null;
        this.exactUse = null;
        break;
      case "answering":
        this.messages = [...this.upto(update.message), update.message];
        this.growing = update.message.id;
        this.grown = update.message.text;
        break;
      case "text":
        this.grown += update.text;
        break;
      case "retrying":
        // The part is begun anew.
        if (this.growing !== null) this.messages = this.messages.slice(0, -1);
        this.growing = null;
        this.grown = "";
        break;
      case "done":
        this.finish(update.message);
        this.exactUse = update.context_used;
        if (update.message.model !== null) this.model = update.message.model;
        break;
      case "failed":
        this.finish(update.message);
        break;
      default:
    }
  }

  /** Takes in how it was made ready at a message. */
  resumed(at: string, resumed: Resumed): void {
    this.messages = this.messages.map((message) => {
      if (message.id !== at || message.resumes.some((one) => one.at === resumed.at)) return message;
      const resumes = [...message.resumes, resumed];
      const gone = Math.max(0, resumes.length - KEPT_RESUMES);
      return { ...message, resumes: resumes.slice(gone), resumes_before: message.resumes_before + gone };
    });
  }

  private finish(answer: MessageView | null): void {
    const unfinished = this.growing;
    if (answer !== null) this.messages = [...this.upto(answer), answer];
    else if (unfinished !== null) {
      this.messages = this.messages.filter((message) => message.id !== unfinished);
    }
    this.growing = null;
    this.grown = "";
  }

  /** The shown branch up to where this message belongs: before itself, else behind its parent. */
  private upto(message: MessageView): readonly MessageView[] {
    const own = this.messages.findIndex((one) => one.id === message.id);
    if (own >= 0) return this.messages.slice(0, own);
    // A first message has no parent here: the system prompt is not shown.
    return this.messages.slice(0, this.messages.findIndex((one) => one.id === message.parent) + 1);
  }
}

function lastUse(messages: readonly MessageView[]): number | null {
  if (messages.length === 0) return 0;
  for (const { receipt, resumes, timing } of messages.toReversed()) {
    // An opening read all that stood before it, this message included.
    const opened = resumes.at(-1);
    if (opened !== undefined) return opened.receipt.tokens_total;
    if (receipt !== null && timing !== null) return receipt.tokens_total + timing.decode_tokens;
  }
  return null;
}
