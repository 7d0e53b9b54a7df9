import { SvelteMap } from "svelte/reactivity";
import type { Backend } from "../ipc/backend";
import type { ConversationPage } from "../ipc/generated/ConversationPage";
import type { ConversationRow } from "../ipc/generated/ConversationRow";

const pageLength = 500;

/** The list of conversations, the one that changed last first. */
export class Conversations {
  rows = $state.raw<readonly ConversationRow[]>([]);
  total = $state(0);
  readonly complete = $derived(this.rows.length >= this.total);
  private readonly byId = $derived(new Map(this.rows.map((row) => [row.id, row])));
  /** What was taken out and may come back, by id. */
  private readonly removed = new SvelteMap<string, { row: ConversationRow; before: string | null }>();

  constructor(private readonly backend: Backend) {}

  /** The row of a conversation, where it is loaded. */
  find(id: string): ConversationRow | undefined {
    return this.byId.get(id);
  }

  /** Takes the beginning of the list, which came with the start. */
  begin(page: ConversationPage): void {
    this.rows = page.rows;
    this.total = page.total;
  }

  /** Loads the rest, a page at a time, so that the window stays free in between. */
  async loadRest(): Promise<void> {
    let offset = this.rows.length;
    while (offset < this.total) {
      const page = await this.backend.listConversations(offset, pageLength);
      const gone = this.removed;
      const known = this.byId;
      const fresh = page.rows.filter((row) => !known.has(row.id) && !gone.has(row.id));
      this.rows = [...this.rows, ...fresh];
      this.total = page.total;
      offset += page.rows.length;
      if (page.rows.length === 0) break;
    }
    this.total = this.rows.length;
  }

  /** Notes that a conversation changed now: it comes first. */
  touch(row: ConversationRow): void {
    const others = this.rows.filter((one) => one.id !== row.id);
    if (others.length === this.rows.length) this.total += 1;
    this.rows = [row, ...others];
  }

  async rename(id: string, title: string): Promise<void> {
    const old = this.find(id);
    if (old === undefined || old.title === title) return;
    this.replace({ ...old, title });
    try {
      await this.backend.renameConversation(id, title);
    } catch (reason) {
      const now = this.find(id);
      if (now !== undefined) this.replace({ ...now, title: old.title });
      throw reason;
    }
  }

  /** Takes conversations out of the list at once; they come back where the app could not. */
  async trash(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const at = this.rows.findIndex((row) => row.id === id);
      const row = this.rows[at];
      if (row === undefined) continue;
      this.removed.set(id, { row, before: this.rows[at + 1]?.id ?? null });
    }
    const out = new Set(ids);
    this.rows = this.rows.filter((row) => !out.has(row.id));
    this.total -= ids.length;
    try {
      await this.backend.trashConversations([...ids]);
    } catch (reason) {
      this.putBack(ids);
      throw reason;
    }
  }

  /** Undoes `trash`. */
  async restore(ids: readonly string[]): Promise<void> {
    await this.backend.restoreConversations([...ids]);
    this.putBack(ids);
  }

  private putBack(ids: readonly string[]): void {
    const rows = [...this.rows];
    for (const id of [...ids].reverse()) {
      const kept = this.removed.get(id);
      if (kept === undefined) continue;
      this.removed.delete(id);
      const at = kept.before === null ? -1 : rows.findIndex((row) => row.id === kept.before);
      const place = at >= 0 ? at : rows.findIndex((row) => row.updated <= kept.row.updated);
      rows.splice(place < 0 ? rows.length : place, 0, kept.row);
      this.total += 1;
    }
    this.rows = rows;
  }

  private replace(row: ConversationRow): void {
    this.rows = this.rows.map((one) => (one.id === row.id ? row : one));
  }
}
