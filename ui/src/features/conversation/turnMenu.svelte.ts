import { createContext } from "svelte";
import type { MessageView } from "../../ipc/generated/MessageView";

/**
 * The "More" menu of a message. There is one for the whole conversation, and it stands outside the list: there it
 * would be clipped, and lie under the messages that follow.
 */
export class OpenTurnMenu {
  at = $state.raw<{ message: MessageView; button: HTMLElement; x: number; y: number } | null>(null);
  /** The message that is being given a name. */
  naming = $state<string | null>(null);

  toggle(message: MessageView, button: HTMLElement): void {
    if (this.at?.button === button) return this.close();
    const box = button.getBoundingClientRect();
    this.at = { message, button, x: box.right, y: box.bottom + 4 };
  }

  /** The focus goes back to the button. */
  close(): void {
    const back = this.at?.button;
    this.at = null;
    back?.focus();
  }
}

export const [useTurnMenu, provideTurnMenu] = createContext<OpenTurnMenu>();
