import { SvelteMap } from "svelte/reactivity";
import type { Backend } from "../ipc/backend";
import { type AppError, asAppError } from "../ipc/error";
import type { Cleared } from "../ipc/generated/Cleared";
import type { SnapshotOrder } from "../ipc/generated/SnapshotOrder";
import type { SnapshotRow } from "../ipc/generated/SnapshotRow";
import type { StorageView } from "../ipc/generated/StorageView";
import type { VerifyUpdate } from "../ipc/generated/VerifyUpdate";

/** Rows that are asked for at once. */
const page = 100;
/** A conversation that is saved tells more than once: the view is read anew when it has been quiet this long. */
const settle = 300;
/** Before this much time nobody can tell how long a check takes. */
const tellAfter = 500;

/** A check of all snapshots that goes on. */
export interface Checking {
  checked: number;
  of: number;
  bytes: number;
  /** What is left at the pace so far, in milliseconds, where it can be told. */
  leftMs: number | null;
  stopping: boolean;
}

/** What the last thing came to that was done to all snapshots or to one. It stays until the next. */
export type Outcome =
  | ({ kind: "verified" } & Omit<Extract<VerifyUpdate, { kind: "done" }>, "kind">)
  | ({ kind: "removed" } & Cleared)
  | { kind: "failed"; error: AppError };

/** What snapshots take, what they may take, and the list of them, of which only what is looked at is here. */
export class Storage {
  view = $state.raw<StorageView | null>(null);
  /** Why that is not known. */
  failed = $state.raw<AppError | null>(null);
  order = $state<SnapshotOrder>("used");
  /** Snapshots in the list. */
  total = $state(0);
  checking = $state.raw<Checking | null>(null);
  outcome = $state.raw<Outcome | null>(null);
  /** Whether all of them are being removed. */
  clearing = $state(false);

  private readonly pages = new SvelteMap<number, readonly SnapshotRow[]>();
  /** Pages that are on their way. */
  private readonly asked = new Set<number>();
  /** Counts what makes older answers wrong. */
  private age = 0;
  private wanted = { from: 0, to: page };
  private watched = false;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private begun = 0;

  constructor(
    private readonly backend: Backend,
    private readonly now: () => number,
  ) {}

  /** The row at this place of the list, once it is here. */
  at(index: number): SnapshotRow | undefined {
    return this.pages.get(Math.floor(index / page))?.[index % page];
  }

  /** Somebody looks at it, until the function that this gives is called. */
  watch(): () => void {
    this.watched = true;
    void this.refresh();
    return () => {
      this.watched = false;
      if (this.timer !== null) clearTimeout(this.timer);
      this.timer = null;
    };
  }

  /** Something was saved or evicted meanwhile. */
  stale(): void {
    // What a check removes is seen when it ends.
    if (!this.watched || this.checking !== null) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.refresh(), settle);
  }

  /** Reads everything that is shown anew. What is there stays until then. */
  async refresh(): Promise<void> {
    this.age += 1;
    const { age } = this;
    this.asked.clear();
    try {
      const view = await this.backend.storage();
      if (age !== this.age) return;
      this.view = view;
      this.failed = null;
      if (view.unusable === null) await this.load();
    } catch (reason) {
      if (age === this.age) this.failed = asAppError(reason);
    }
  }

  async sort(order: SnapshotOrder): Promise<void> {
    if (order === this.order) return;
    this.order = order;
    this.age += 1;
    this.asked.clear();
    await this.load();
  }

  /** These places of the list are looked at. */
  need(from: number, to: number): void {
    this.wanted = { from, to };
    const missing = this.spread().filter((at) => !this.pages.has(at) && !this.asked.has(at));
    const { age } = this;
    for (const at of missing) {
      this.page(at, age).catch((reason: unknown) => {
        if (age === this.age) this.failed = asAppError(reason);
      });
    }
  }

  /** Says how much snapshots may take, in bytes; `null`: the default. */
  async limit(bytes: number | null): Promise<void> {
    this.view = await this.backend.setSnapshotBudget(bytes);
    await this.refresh();
  }

  async pin(row: SnapshotRow): Promise<void> {
    const pinned = !row.pinned;
    this.put({ ...row, pinned });
    try {
      await this.backend.pinSnapshot(row.id, pinned);
    } catch (reason) {
      this.put(row);
      throw reason;
    }
    await this.refresh();
  }

  async drop(id: string): Promise<void> {
    this.outcome = { kind: "removed", ...(await this.backend.dropSnapshot(id)) };
    await this.refresh();
  }

  async clear(): Promise<void> {
    if (this.clearing) return;
    this.clearing = true;
    try {
      this.outcome = { kind: "removed", ...(await this.backend.clearSnapshots()) };
      await this.refresh();
    } finally {
      this.clearing = false;
    }
  }

  /** Reads all snapshots and removes those that are damaged. */
  async verify(): Promise<void> {
    if (this.checking !== null) return;
    this.outcome = null;
    this.begun = this.now();
    this.checking = { checked: 0, of: this.view?.snapshots ?? 0, bytes: 0, leftMs: null, stopping: false };
    try {
      await this.backend.verifySnapshots((update) => this.hear(update));
    } catch (reason) {
      this.outcome = { kind: "failed", error: asAppError(reason) };
    }
    this.checking = null;
    await this.refresh();
  }

  async stopVerifying(): Promise<void> {
    if (this.checking === null || this.checking.stopping) return;
    this.checking = { ...this.checking, stopping: true };
    try {
      await this.backend.stopVerify();
    } catch (reason) {
      if (this.checking !== null) this.checking = { ...this.checking, stopping: false };
      throw reason;
    }
  }

  private hear(update: VerifyUpdate): void {
    switch (update.kind) {
      case "progress": {
        const { checked, of, bytes } = update;
        const passed = this.now() - this.begun;
        const leftMs = checked > 0 && passed >= tellAfter ? (passed / checked) * (of - checked) : null;
        this.checking = { checked, of, bytes, leftMs, stopping: this.checking?.stopping ?? false };
        break;
      }
      case "done": {
        const { whole, removed, bytes, ms, stopped } = update;
        this.outcome = { kind: "verified", whole, removed, bytes, ms, stopped };
        break;
      }
      case "failed":
        this.outcome = { kind: "failed", error: asAppError(update.error) };
        break;
    }
  }

  /** Loads what is looked at, and lets go of the rest once it is there. */
  private async load(): Promise<void> {
    const { age } = this;
    const wanted = this.spread();
    await Promise.all(wanted.map((at) => this.page(at, age)));
    if (age !== this.age) return;
    for (const at of [...this.pages.keys()]) if (!wanted.includes(at)) this.pages.delete(at);
    // What was looked at may have been scrolled meanwhile.
    this.need(this.wanted.from, this.wanted.to);
  }

  private async page(at: number, age: number): Promise<void> {
    this.asked.add(at);
    try {
      const { rows, total } = await this.backend.listSnapshots(this.order, at * page, page);
      if (age !== this.age) return;
      this.pages.set(at, rows);
      this.total = total;
    } finally {
      if (age === this.age) this.asked.delete(at);
    }
  }

  /** Pages in which what is looked at lies. */
  private spread(): number[] {
    const first = Math.floor(this.wanted.from / page);
    const last = Math.max(first, Math.floor((this.wanted.to - 1) / page));
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  }

  private put(row: SnapshotRow): void {
    for (const [at, rows] of this.pages) {
      if (rows.some((one) => one.id === row.id)) {
        this.pages.set(
          at,
          rows.map((one) => (one.id === row.id ? row : one)),
        );
      }
    }
  }
}
