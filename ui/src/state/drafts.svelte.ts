import { SvelteMap } from "svelte/reactivity";
import type { Backend } from "../ipc/backend";

/** How long typing pauses before it is saved, in milliseconds: longer, the more there is to write. */
export const draftPause = (length: number) => Math.min(3000, 400 + length / 500);

/** What is typed and not sent, by conversation; `null` is the new one's. It survives a restart. */
export class Drafts {
  private readonly texts = new SvelteMap<string | null, string>();
  private readonly waiting = new Map<string | null, ReturnType<typeof setTimeout>>();

  constructor(
    private readonly backend: Backend,
    private readonly failed: (reason: unknown) => void,
  ) {}

  of(conversation: string | null): string {
    return this.texts.get(conversation) ?? "";
  }

  /** Takes what the app kept, unless something newer was typed. */
  known(conversation: string | null, text: string): void {
    if (!this.texts.has(conversation)) this.texts.set(conversation, text);
  }

  write(conversation: string | null, text: string): void {
    this.texts.set(conversation, text);
    this.cancel(conversation);
    this.waiting.set(
      conversation,
      setTimeout(() => this.save(conversation), draftPause(text.length)),
    );
  }

  /** Takes the text out to send it. What is saved stays until `sent`. */
  take(conversation: string | null): string {
    const text = this.of(conversation);
    this.cancel(conversation);
    this.texts.set(conversation, "");
    return text;
  }

  /** The text is kept as a message: the saved draft may go. */
  sent(conversation: string | null): void {
    this.save(conversation);
  }

  /** The text could not be sent: it comes back, before what was typed since. */
  putBack(conversation: string | null, text: string): void {
    const since = this.of(conversation);
    this.write(conversation, since === "" ? text : `${text}\n${since}`);
  }

  /** Saves all that is not saved yet; before the window hides. */
  flush(): void {
    for (const conversation of [...this.waiting.keys()]) this.save(conversation);
  }

  private save(conversation: string | null): void {
    this.cancel(conversation);
    this.backend.saveDraft(conversation, this.of(conversation)).catch(this.failed);
  }

  private cancel(conversation: string | null): void {
    const timer = this.waiting.get(conversation);
    if (timer !== undefined) clearTimeout(timer);
    this.waiting.delete(conversation);
  }
}
