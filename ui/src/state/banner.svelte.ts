import type { AppError } from "../ipc/error";

/** What a banner says: something that failed, or a fact about the last session. */
export type Told =
  { kind: "error"; error: AppError; show?: () => void } | { kind: "interrupted"; answers: number };

const weight = (told: Told) => (told.kind === "error" ? 1 : 0);

/** What the person should know beside what they are doing. One at a time; the others wait. */
export class Banner {
  private waiting = $state.raw<readonly Told[]>([]);
  /** What is shown: what failed before what is merely good to know, and then the newest. */
  readonly shown = $derived(
    this.waiting.reduce<Told | null>(
      (best, told) => (best && weight(best) > weight(told) ? best : told),
      null,
    ),
  );

  tell(told: Told): void {
    const same = (other: Told) =>
      other.kind === told.kind &&
      (other.kind !== "error" || told.kind !== "error" || other.error.code === told.error.code);
    this.waiting = [...this.waiting.filter((other) => !same(other)), told];
  }

  dismiss(told: Told): void {
    this.waiting = this.waiting.filter((other) => other !== told);
  }
}
