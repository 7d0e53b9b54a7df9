import type { Backend } from "../ipc/backend";
import { type AppError, asAppError } from "../ipc/error";
import type { SearchHit } from "../ipc/generated/SearchHit";

const pause = 120;
const limit = 200;

/** The hits of one conversation, best first. */
export interface Found {
  conversation: string;
  title: string;
  hits: SearchHit[];
}

/** Full-text search over all conversations. */
export class Search {
  query = $state("");
  hits = $state.raw<readonly SearchHit[]>([]);
  /** What the last search took, in milliseconds; `null` before the first. */
  ms = $state<number | null>(null);
  /** What was searched for when `hits` came. */
  answered = $state("");
  error = $state.raw<AppError | null>(null);
  /** The hits by conversation, the conversation with the best hit first. */
  readonly found = $derived(byConversation(this.hits));
  readonly messages = $derived(this.hits.filter((hit) => hit.message !== null).length);

  private timer: ReturnType<typeof setTimeout> | null = null;
  private asked = 0;

  constructor(private readonly backend: Backend) {}

  type(query: string): void {
    this.query = query;
    if (this.timer !== null) clearTimeout(this.timer);
    this.asked += 1;
    if (query.trim() === "") {
      this.show("", [], null);
      return;
    }
    this.timer = setTimeout(() => void this.run(), pause);
  }

  private async run(): Promise<void> {
    const turn = this.asked;
    const query = this.query.trim();
    try {
      const { hits, ms } = await this.backend.search(query, limit);
      if (turn === this.asked) this.show(query, hits, ms);
    } catch (reason) {
      if (turn === this.asked) this.error = asAppError(reason);
    }
  }

  private show(answered: string, hits: SearchHit[], ms: number | null): void {
    this.answered = answered;
    this.hits = hits;
    this.ms = ms;
    this.error = null;
  }
}

function byConversation(hits: readonly SearchHit[]): Found[] {
  const found = new Map<string, Found>();
  for (const hit of hits) {
    const known = found.get(hit.conversation);
    if (known === undefined) {
      found.set(hit.conversation, { conversation: hit.conversation, title: hit.title, hits: [hit] });
    } else known.hits.push(hit);
  }
  return [...found.values()];
}
