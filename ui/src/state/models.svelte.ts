import type { Backend } from "../ipc/backend";
import { type AppError, asAppError } from "../ipc/error";
import type { ModelChoice } from "../ipc/generated/ModelChoice";
import type { ModelRow } from "../ipc/generated/ModelRow";

/** The models that are known, the one used last first. */
export class Models {
  rows = $state.raw<readonly ModelRow[]>([]);
  /** Whether files are held over the window. */
  dragging = $state(false);
  /** What new turns use. */
  readonly chosen = $derived(this.rows.find((row) => row.chosen) ?? null);
  /** Whether there is something to answer with. */
  readonly usable = $derived(this.chosen !== null && this.chosen.bytes !== null);

  constructor(private readonly backend: Backend) {}

  /** Asks with the system's own dialog. Gives why the file was refused, where it was. */
  async pick(): Promise<AppError | null> {
    return this.take(await this.backend.pickModel());
  }

  /** Takes what came of a choice or a drop. */
  take(choice: ModelChoice): AppError | null {
    if (choice.kind === "chosen") this.rows = choice.models;
    return choice.kind === "refused" ? asAppError(choice.error) : null;
  }

  async choose(id: string): Promise<void> {
    this.rows = await this.backend.chooseModel(id);
  }

  /** Takes it off the list; the file is not touched. */
  async forget(id: string): Promise<void> {
    this.rows = await this.backend.forgetModel(id);
  }
}
