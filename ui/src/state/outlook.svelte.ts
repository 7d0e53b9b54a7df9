import { SvelteMap } from "svelte/reactivity";
import type { Backend } from "../ipc/backend";
import type { Crossing } from "../ipc/generated/Crossing";
import type { EditCost } from "../ipc/generated/EditCost";
import type { Outlook as Told } from "../ipc/generated/Outlook";

/** How long changes are gathered before they are asked for, in milliseconds. */
const GATHER = 250;

const between = ({ before, now }: Crossing) => `${before.model ?? before.name} ${now.model ?? now.name}`;

/** What going on with the shown conversation will cost. */
export class Outlook {
  now = $state.raw<Told | null>(null);
  /** Between which models somebody chose already, by conversation. */
  private readonly chosen = new SvelteMap<string, string>();
  /** The two models between which the person has to choose, where there is a choice. */
  readonly crossing = $derived.by(() => {
    const crossing = this.now?.crossing ?? null;
    if (this.now === null || crossing === null) return null;
    return this.chosen.get(this.now.conversation) === between(crossing) ? null : crossing;
  });
  private conversation: string | null = null;
  private asked = 0;
  private coming: Promise<void> = Promise.resolve();
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly backend: Pick<Backend, "outlook">) {}

  /** Another conversation is shown, or none. */
  show(conversation: string | null): void {
    if (conversation === this.conversation) return;
    this.conversation = conversation;
    this.now = null;
    void this.ask();
  }

  /** Asks at once, for something that is about to be shown. */
  ask(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.coming = this.fetch();
    return this.coming;
  }

  /** Something changed: asks a moment later. */
  renew(): void {
    if (this.conversation === null) return;
    this.timer ??= setTimeout(() => void this.ask(), GATHER);
  }

  /** What is known of this conversation, once what is asked for is there. */
  async known(conversation: string): Promise<Told | null> {
    await this.coming;
    return this.now?.conversation === conversation ? this.now : null;
  }

  /** What writing this message anew means. */
  edit(message: string): EditCost | null {
    return this.now?.edits.find((cost) => cost.message === message) ?? null;
  }

  /** The person goes on with the chosen model. Holds until one of the two is another. */
  goOn(): void {
    const crossing = this.now?.crossing ?? null;
    if (this.now !== null && crossing !== null) this.chosen.set(this.now.conversation, between(crossing));
  }

  private async fetch(): Promise<void> {
    const { conversation } = this;
    const asked = (this.asked += 1);
    if (conversation === null) return;
    try {
      const told = await this.backend.outlook(conversation);
      if (asked === this.asked) this.now = told;
    } catch {
      // Without it nothing is said about costs; the turn says what it costs.
      if (asked === this.asked) this.now = null;
    }
  }
}
