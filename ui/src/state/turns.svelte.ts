import { SvelteMap } from "svelte/reactivity";
import type { Turn } from "./turn.svelte";

/** The turns that run, and the last one of a conversation where it failed. At most one a conversation. */
export class Turns {
  private readonly byConversation = new SvelteMap<string, Turn>();
  /** The turn that begins a conversation, until that has an id. */
  beginning = $state.raw<Turn | null>(null);

  /** The conversation's turn; `null` asks for the one that begins a conversation. */
  of(conversation: string | null): Turn | null {
    if (conversation === null) return this.beginning;
    return this.byConversation.get(conversation) ?? null;
  }

  /** Whether the conversation is being answered, or waits to be. */
  running(conversation: string | null): boolean {
    return this.of(conversation)?.running ?? false;
  }

  /** Whether any conversation is being answered, or waits to be. */
  any(): boolean {
    return (
      (this.beginning?.running ?? false) || [...this.byConversation.values()].some((turn) => turn.running)
    );
  }

  /** Holds a turn under its conversation, or as the one that begins one. */
  hold(turn: Turn): void {
    if (turn.conversation === null) {
      this.beginning = turn;
      return;
    }
    if (this.beginning === turn) this.beginning = null;
    this.byConversation.set(turn.conversation, turn);
  }

  /** Lets go of a turn that ended well, or whose failure was seen. */
  drop(turn: Turn): void {
    if (this.beginning === turn) this.beginning = null;
    if (turn.conversation !== null && this.byConversation.get(turn.conversation) === turn) {
      this.byConversation.delete(turn.conversation);
    }
  }
}
