import { SvelteMap } from "svelte/reactivity";
import type { Backend } from "../ipc/backend";
import type { Mark } from "../ipc/generated/Mark";

/** How long rows that come into sight are gathered before they are asked for, in milliseconds. */
const GATHER = 100;
/** At most so many at once. */
const MOST = 200;

/** Which conversations open instantly: of those whose rows are on the screen. */
export class Marks {
  private readonly known = new SvelteMap<string, Mark>();
  /** Rows in the page, by conversation. */
  private readonly seen = new Map<string, number>();
  /** What was told since the last change. */
  private fresh = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private asking = false;

  constructor(private readonly backend: Pick<Backend, "marks">) {}

  /** What is known of a conversation. */
  of(conversation: string): Mark | null {
    return this.known.get(conversation) ?? null;
  }

  /** A row is in the page. Gives what to call when it is gone. */
  see(conversation: string): () => void {
    this.seen.set(conversation, (this.seen.get(conversation) ?? 0) + 1);
    if (!this.fresh.has(conversation)) this.soon();
    return () => {
      const rows = (this.seen.get(conversation) ?? 1) - 1;
      if (rows > 0) this.seen.set(conversation, rows);
      else this.seen.delete(conversation);
    };
  }

  /** Something changed: all that is in the page is asked for again. */
  renew(): void {
    this.fresh = new Set();
    this.soon();
  }

  private soon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      void this.ask();
    }, GATHER);
  }

  private async ask(): Promise<void> {
    // One at a time; what came meanwhile is asked for after it.
    if (this.asking) return this.soon();
    const { fresh } = this;
    const wanted = [...this.seen.keys()].filter((id) => !fresh.has(id)).slice(0, MOST);
    if (wanted.length === 0) return;
    this.asking = true;
    for (const id of wanted) fresh.add(id);
    try {
      for (const mark of await this.backend.marks(wanted)) this.known.set(mark.conversation, mark);
      if (wanted.length === MOST) this.soon();
    } catch {
      // A hint that is missing is no news; the next change asks again.
    }
    this.asking = false;
  }
}
