import type { Backend } from "../ipc/backend";
import { type AppError, asAppError } from "../ipc/error";
import type { QualificationRow } from "../ipc/generated/QualificationRow";
import type { Qualifications as Found } from "../ipc/generated/Qualifications";

/** What was found out about states surviving here. */
export class Qualifications {
  found = $state.raw<Found | null>(null);
  failed = $state.raw<AppError | null>(null);
  /** Whether it is being found out for the loaded model. */
  busy = $state(false);
  private age = 0;

  /** What is known of the loaded model as it is computed now; `null` where it was not tested. */
  readonly ofLoaded = $derived(
    this.found?.rows.find((row) => row.current && row.model === this.found?.loaded) ?? null,
  );

  constructor(private readonly backend: Backend) {}

  /** Whether this row is of the loaded model as it is computed now. */
  isNow(row: QualificationRow): boolean {
    return row === this.ofLoaded;
  }

  async refresh(): Promise<void> {
    await this.take(this.backend.qualifications());
  }

  /** Finds it out anew for the loaded model. */
  async run(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      await this.take(this.backend.qualify());
    } finally {
      this.busy = false;
    }
  }

  private async take(answer: Promise<Found>): Promise<void> {
    this.age += 1;
    const { age } = this;
    try {
      const found = await answer;
      if (age !== this.age) return;
      this.found = found;
      this.failed = null;
    } catch (reason) {
      if (age === this.age) this.failed = asAppError(reason);
    }
  }
}
