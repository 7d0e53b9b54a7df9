import type { Backend } from "../ipc/backend";
import type { Settings as Chosen } from "../ipc/generated/Settings";

const pause = 300;

/** What the person chose. A change shows at once and is saved a moment later. */
export class Settings {
  now = $state.raw<Chosen>({
    theme: "system",
    language: "system",
    scale: 100,
    send_key: "enter",
    statistics: true,
    sidebar: true,
    system_prompt: "",
    temperature: null,
    n_ctx: null,
    kv_type: "f16",
  });
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly backend: Backend,
    private readonly failed: (reason: unknown) => void,
  ) {}

  change(part: Partial<Chosen>): void {
    this.now = { ...this.now, ...part };
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), pause);
  }

  /** Saves what is not saved yet. */
  flush(): void {
    if (this.timer === null) return;
    clearTimeout(this.timer);
    this.timer = null;
    this.backend.saveSettings(this.now).catch(this.failed);
  }
}
