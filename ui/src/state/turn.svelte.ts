import { type AppError, asAppError } from "../ipc/error";
import type { Ask } from "../ipc/generated/Ask";
import type { TurnUpdate } from "../ipc/generated/TurnUpdate";

/** How often counts change while text comes, in milliseconds: nobody reads a figure that changes faster. */
const COUNT_EVERY = 500;

/** How far a turn is. */
export type TurnPhase =
  | { kind: "sending" }
  | { kind: "queued" }
  | { kind: "loading"; fraction: number }
  | { kind: "preparing" }
  | { kind: "reading"; done: number; of: number; leftMs: number | null }
  | { kind: "answering" }
  | { kind: "done" }
  | { kind: "failed"; error: AppError };

/** One turn, from the moment it is asked for to its last update. */
export class Turn {
  phase = $state.raw<TurnPhase>({ kind: "sending" });
  /** The conversation; `null` until a new one has an id. */
  conversation = $state<string | null>(null);
  /** The message that is answered. */
  question = $state<string | null>(null);
  /** Tokens of the answer so far. */
  tokens = $state(0);
  /** Tokens a second so far, where there are enough to tell. */
  rate = $state<number | null>(null);
  /** From asking to the first text, in milliseconds. */
  firstMs = $state<number | null>(null);
  /** Tokens of the prompt, and how many of them did not have to be read again. */
  prompt = $state.raw<{ tokens: number; reused: number } | null>(null);
  /** How the engine was lost, where the turn was begun again. */
  retrying = $state.raw<AppError | null>(null);
  /** Why what comes is not being kept, where it is not. */
  notKept = $state.raw<AppError | null>(null);
  /** Whether somebody asked for an end. */
  stopping = $state(false);

  readonly running = $derived(this.phase.kind !== "done" && this.phase.kind !== "failed");
  /** What the turn failed with. */
  readonly error = $derived(this.phase.kind === "failed" ? this.phase.error : null);

  private readonly begun: number;
  private firstAt = 0;
  private countedAt = 0;

  constructor(
    readonly ask: Ask,
    private readonly now: () => number,
  ) {
    this.begun = now();
    if (ask.kind === "continue") this.conversation = ask.conversation;
  }

  /** Takes in what the app reports. */
  hear(update: TurnUpdate): void {
    if (!this.running) return;
    switch (update.kind) {
      case "kept":
        this.conversation = update.conversation;
        this.question = update.message.id;
        break;
      case "queued":
        this.phase = { kind: "queued" };
        break;
      case "loading":
        this.phase = { kind: "loading", fraction: Math.min(1, Math.max(0, update.fraction)) };
        break;
      case "retrying":
        this.retrying = asAppError(update.error);
        this.phase = { kind: "preparing" };
        break;
      case "prepared":
        this.prompt = { tokens: update.tokens, reused: update.reused };
        this.phase = { kind: "preparing" };
        break;
      case "reading":
        this.phase = { kind: "reading", done: update.done, of: update.of, leftMs: update.left_ms };
        break;
      case "answering":
        this.phase = { kind: "answering" };
        break;
      case "text":
        this.count(update.tokens);
        break;
      case "not_kept":
        this.notKept = asAppError(update.error);
        break;
      case "done":
        this.phase = { kind: "done" };
        break;
      case "failed":
        this.phase = { kind: "failed", error: asAppError(update.error) };
        break;
    }
  }

  private count(tokens: number): void {
    const now = this.now();
    if (this.firstMs === null) {
      this.firstMs = now - this.begun;
      this.firstAt = now;
    } else if (now - this.countedAt < COUNT_EVERY) {
      return;
    } else {
      this.rate = tokens / ((now - this.firstAt) / 1000);
    }
    this.countedAt = now;
    this.tokens = tokens;
  }
}
