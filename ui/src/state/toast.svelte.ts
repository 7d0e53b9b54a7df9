/** What was just done, with a way back where there is one. */
export type Done =
  | { kind: "deleted"; count: number; undo: () => void }
  | { kind: "unnamed"; name: string; undo: () => void }
  | { kind: "copied" }
  | { kind: "branched" };

const withUndo = 10_000;
const without = 4_000;

/** The one message that goes away by itself. */
export class Toast {
  shown = $state.raw<Done | null>(null);
  /** Seconds left, for the one with an undo. */
  left = $state(0);
  private timer: ReturnType<typeof setInterval> | null = null;
  private held = false;

  show(done: Done): void {
    this.close();
    this.shown = done;
    this.left = ("undo" in done ? withUndo : without) / 1000;
    this.timer = setInterval(() => this.tick(), 1000);
  }

  /** Time stands still while somebody is about to press it. */
  hold(held: boolean): void {
    this.held = held;
  }

  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    this.shown = null;
    this.held = false;
  }

  private tick(): void {
    if (this.held) return;
    this.left -= 1;
    if (this.left <= 0) this.close();
  }
}
