import type { EngineView } from "../ipc/generated/EngineView";

/** What the engine is doing. */
export class Engine {
  view = $state.raw<EngineView>({ phase: { kind: "absent" }, loaded: null, device: "" });
  readonly phase = $derived(this.view.phase);
  /** Context of the loaded model, in tokens. */
  readonly context = $derived(this.view.loaded?.n_ctx ?? null);
}
