import { SvelteMap } from "svelte/reactivity";
import type { Backend } from "../ipc/backend";
import type { ConversationView } from "../ipc/generated/ConversationView";

/** A conversation is shown up to a named message. */
export interface Standing {
  /** That message. */
  message: string;
  /** Whether it is known that the conversation goes on behind it. */
  sure: boolean;
  /** What was shown last before, to go back to. */
  from: string;
}

/** Messages that have a name, and at which of them one stands. */
export class Points {
  private readonly standings = new SvelteMap<string, Standing>();

  constructor(private readonly backend: Backend) {}

  /** At which named message a conversation stands whose last shown message is this one. */
  standing(conversation: string, last: string | null): Standing | null {
    const standing = this.standings.get(conversation);
    return standing !== undefined && standing.message === last ? standing : null;
  }

  /**
   * A conversation was opened. It may still end where somebody jumped to: then its last message has a name, and it
   * has more of them, `messages` in all branches, than are shown.
   */
  opened(view: ConversationView, messages: number | null): void {
    const last = view.messages.at(-1)?.id;
    const named = view.checkpoints.some((point) => point.message === last);
    if (last === undefined || !named || messages === null || messages <= view.messages.length) {
      this.standings.delete(view.id);
    } else if (this.standing(view.id, last) === null) {
      this.standings.set(view.id, { message: last, sure: false, from: last });
    }
  }

  /** Another branch of it is shown, to its end. */
  left(conversation: string): void {
    this.standings.delete(conversation);
  }

  name(message: string, name: string): Promise<ConversationView> {
    return this.backend.nameCheckpoint(message, name.trim());
  }

  remove(message: string): Promise<ConversationView> {
    return this.backend.removeCheckpoint(message);
  }

  /** Shows a conversation up to a named message; `last` is what is shown last now. */
  async jump(message: string, last: string | null): Promise<ConversationView> {
    const view = await this.backend.jumpTo(message);
    if (last !== message) this.standings.set(view.id, { message, sure: true, from: last ?? message });
    return view;
  }

  /** Shows the end again that was left by a jump. */
  async back(conversation: string): Promise<ConversationView | null> {
    const standing = this.standings.get(conversation);
    if (standing === undefined) return null;
    const view = await this.backend.showVersion(standing.from);
    this.standings.delete(conversation);
    return view;
  }
}
