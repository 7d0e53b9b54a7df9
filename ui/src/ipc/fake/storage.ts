// Snapshots and what was found out about them, as the fake plays it.

import { AppError } from "../error";
import type { AppError as Crossed } from "../generated/AppError";
import type { Cleared } from "../generated/Cleared";
import type { QualificationRow } from "../generated/QualificationRow";
import type { Qualifications } from "../generated/Qualifications";
import type { SnapshotOrder } from "../generated/SnapshotOrder";
import type { SnapshotPage } from "../generated/SnapshotPage";
import type { SnapshotRow } from "../generated/SnapshotRow";
import type { StorageView } from "../generated/StorageView";
import type { VerifyUpdate } from "../generated/VerifyUpdate";
import { type Stage, wait } from "./stage";

const GB = 1_000_000_000;
const day = 86_400_000;
const defaultBudget = 20 * GB;
const free = 212 * GB;
/** Of an 8B model in f16. */
const bytesPerToken = 131_072;

export const snapshotsDamaged: Crossed = {
  code: "snapshots_damaged",
  message:
    "The file of the snapshots is damaged. No message is touched; conversations are read from their text.",
  remedy:
    "Start Reprise again; if it happens again, delete snapshots.db in the data folder while Reprise is closed.",
};

const tokens = [4507, 3377, 2048, 4120, 6402, 5911, 2390, 8014, 7866, 1310];
const ages = [0.008, 0.12, 0.9, 1.2, 1.4, 5, 6, 11, 4, 30];

export class Storage {
  private rows: SnapshotRow[] | null = null;
  private budget: number | null;
  private stopped = false;
  /** Those that a check finds damaged. */
  private damaged: Set<string> | null = null;
  private found: QualificationRow[] | null = null;

  constructor(private readonly stage: Stage) {
    this.budget = stage.play.budget;
  }

  storage(): Promise<StorageView> {
    return this.stage.reply("storage", [], () => this.view());
  }

  list(order: SnapshotOrder, offset: number, limit: number): Promise<SnapshotPage> {
    return this.stage.reply("list_snapshots", [order, offset, limit], () => {
      const key = { size: "bytes", age: "created", used: "used" } as const;
      const sorted = this.all().toSorted((one, other) => other[key[order]] - one[key[order]]);
      const rows = sorted.slice(offset, offset + limit).map((row) => ({ ...row }));
      return { rows, offset, total: sorted.length };
    });
  }

  setBudget(bytes: number | null): Promise<StorageView> {
    return this.stage.reply("set_snapshot_budget", [bytes], () => {
      this.budget = bytes;
      this.rows = this.pruned(this.all());
      return this.view();
    });
  }

  pin(id: string, pinned: boolean): Promise<void> {
    return this.stage.reply("pin_snapshot", [id, pinned], () => {
      const row = this.all().find((one) => one.id === id);
      if (row === undefined) throw this.absent(id);
      row.pinned = pinned;
    });
  }

  drop(id: string): Promise<Cleared> {
    return this.stage.reply("drop_snapshot", [id], () => {
      const row = this.all().find((one) => one.id === id);
      if (row === undefined) throw this.absent(id);
      this.rows = this.all().filter((one) => one !== row);
      return { snapshots: 1, bytes: row.bytes };
    });
  }

  clear(): Promise<Cleared> {
    return this.stage.reply("clear_snapshots", [], () => {
      const cleared = { snapshots: this.all().length, bytes: this.taken() };
      this.rows = [];
      return cleared;
    });
  }

  async verify(hear: (update: VerifyUpdate) => void): Promise<void> {
    await this.stage.reply("verify_snapshots", [], () => undefined);
    this.stopped = false;
    const all = this.all();
    const begun = Date.now();
    this.damaged ??= new Set(
      all
        .filter((_, at) => at % 5 === 2)
        .slice(0, this.stage.play.damaged)
        .map((row) => row.id),
    );
    const { damaged } = this;
    // Enough steps to be looked at, however many there are.
    const step = Math.max(1, Math.ceil(all.length / 50));
    let checked = 0;
    let bytes = 0;
    while (checked < all.length && !this.stopped) {
      const batch = all.slice(checked, checked + step);
      checked += batch.length;
      bytes += batch.reduce((sum, row) => sum + row.bytes, 0);
      hear({ kind: "progress", checked, of: all.length, bytes });
      if (checked >= all.length * 0.6) await this.stage.held("verifying");
      await wait(20);
    }
    const seen = new Set(all.slice(0, checked).filter((row) => damaged.has(row.id)));
    this.rows = this.all().filter((row) => !seen.has(row));
    const removed = seen.size;
    const ms = Date.now() - begun;
    hear({ kind: "done", whole: checked - removed, removed, bytes, ms, stopped: checked < all.length });
  }

  stopVerify(): Promise<void> {
    return this.stage.reply("stop_verify", [], () => void (this.stopped = true));
  }

  showFolder(): Promise<void> {
    return this.stage.reply("show_data_folder", [], () => undefined);
  }

  qualifications(): Promise<Qualifications> {
    return this.stage.reply("qualifications", [], () => this.qualified());
  }

  async qualify(): Promise<Qualifications> {
    await this.stage.reply("qualify", [], () => undefined);
    await this.stage.held("testing");
    await wait(400);
    const { loaded } = this.qualified();
    if (loaded === null) {
      throw new AppError({
        code: "not_loaded",
        message: "No model is loaded.",
        remedy: "Choose a model first.",
      });
    }
    const others = this.tested().filter((row) => !(row.current && row.model === loaded));
    this.found = [this.row(loaded, { at: Date.now() }), ...others];
    return this.qualified();
  }

  private view(): StorageView {
    const all = this.all();
    const bytes = this.taken();
    return {
      snapshots: all.length,
      pinned: all.filter((row) => row.pinned).length,
      bytes,
      budget: this.budget ?? defaultBudget,
      default_budget: defaultBudget,
      chosen: this.budget !== null,
      free: free - bytes,
      history: 312_000_000,
      folder: "~/.local/share/reprise",
      unusable: this.stage.play.unusable ? snapshotsDamaged : null,
    };
  }

  /** Made when it is first looked at: it names conversations that are there then. */
  private all(): SnapshotRow[] {
    this.rows ??= this.pruned(this.made());
    return this.rows;
  }

  /** The longest unused go first, never a pinned one. */
  private pruned(all: SnapshotRow[]): SnapshotRow[] {
    let over = all.reduce((sum, row) => sum + row.bytes, 0) - (this.budget ?? defaultBudget);
    const gone = new Set<string>();
    for (const row of all.toSorted((one, other) => one.used - other.used)) {
      if (over <= 0) break;
      if (row.pinned) continue;
      gone.add(row.id);
      over -= row.bytes;
    }
    return all.filter((row) => !gone.has(row.id));
  }

  private made(): SnapshotRow[] {
    const { snapshots, budget, unusable } = this.stage.play;
    const conversations = this.stage.rows();
    if (conversations.length === 0 || budget === 0 || unusable) return [];
    const now = Date.now();
    // Many snapshots are of short conversations: all of them fit the budget.
    const shrink = Math.min(1, 20 / snapshots);
    return Array.from({ length: snapshots }, (_, at): SnapshotRow => {
      const row = conversations[at % conversations.length];
      const seen = Math.round((tokens[at % tokens.length] ?? 0) * shrink) + 260 + ((at * 37) % 400);
      const age = (ages[at % ages.length] ?? 0) + Math.floor(at / ages.length) * 1.7;
      return {
        id: `s${at}`,
        conversation: row?.id ?? "",
        title: row?.title ?? "",
        model: row?.model ?? null,
        tokens: seen,
        bytes: Math.round(seen * bytesPerToken * (snapshots > 1000 ? 0.03 : 1)),
        created: now - age * day,
        used: now - age * day * 0.3,
        pinned: at === 7 || at === 3,
        quarantined:
          at === 4 ? "challenge: the restored state did not answer as it did when it was saved" : null,
      };
    });
  }

  private taken(): number {
    return this.all().reduce((sum, row) => sum + row.bytes, 0);
  }

  private qualified(): Qualifications {
    return {
      rows: this.tested().map((row) => ({ ...row })),
      loaded: this.stage.engine().loaded?.name ?? null,
    };
  }

  private tested(): QualificationRow[] {
    const now = Date.now();
    this.found ??= this.stage.play.tested
      ? [
          this.row("Llama 3.1 8B Instruct · Q4_K_M", { at: now - 0.02 * day }),
          this.row("Gemma 3 270M · Q8_0", { at: now - 3 * day, verdict: "within_tolerance" }),
          this.row("Llama 3.1 8B Instruct · Q4_K_M", { at: now - 21 * day, current: false }),
          this.row("SmolLM2 135M Instruct · Q4_1", {
            at: now - 21 * day,
            device: "RPC0",
            kv_place: "device",
            verdict: "failed",
            why: "a restored state answers differently (0.312 nats away, 0.05 are allowed)",
            current: false,
          }),
        ]
      : [];
    return this.found;
  }

  private row(model: string, more: Partial<QualificationRow>): QualificationRow {
    return {
      model,
      device: "CPU",
      kv_place: "host",
      kv_type: "f16",
      verdict: "identical",
      why: null,
      at: 0,
      current: true,
      ...more,
    };
  }

  private absent(id: string): AppError {
    return new AppError({
      code: "not_found",
      message: `There is no snapshot ${id}. It may have been evicted.`,
      remedy: "Look at the list again.",
    });
  }
}
