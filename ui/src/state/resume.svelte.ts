import type { Backend } from "../ipc/backend";
import { type AppError, asAppError } from "../ipc/error";
import type { NotYet } from "../ipc/generated/NotYet";
import type { Reason } from "../ipc/generated/Reason";
import type { Resumed } from "../ipc/generated/Resumed";
import type { ResumeTrigger } from "../ipc/generated/ResumeTrigger";
import type { ResumeUpdate } from "../ipc/generated/ResumeUpdate";

/** How long somebody stays with a conversation before it is made ready, in milliseconds. */
export const DWELL = 400;
/** What is over sooner than this is not shown, in milliseconds. */
export const LASTING = 150;
/** When to ask again after the app was busy with something that nobody here knows of, in milliseconds. */
const ASK_AGAIN = 2000;

/** How far a conversation is on its way to be ready. */
export type ResumePhase =
  | { kind: "idle" }
  /** It has just been shown; the person may only be passing. */
  | { kind: "dwelling" }
  /** The person has to say first with which model it goes on. */
  | { kind: "held" }
  | { kind: "asking" }
  | { kind: "loading"; fraction: number }
  | { kind: "checking" }
  | {
      kind: "reading";
      done: number;
      of: number;
      /** Tokens a second. */
      rate: number | null;
      leftMs: number | null;
      reason: Reason | null;
    }
  | { kind: "ready"; message: string }
  | { kind: "not_yet"; why: NotYet }
  | { kind: "cancelled" }
  | { kind: "failed"; error: AppError };

/** What making a conversation ready depends on. */
export interface Circumstances {
  /** Whether an answer is being written or waits to be, anywhere. */
  busy: () => boolean;
  /** Whether the person has to choose between two models first. */
  held: (conversation: string, trigger: ResumeTrigger) => Promise<boolean>;
  /** Something was done to make a conversation ready. */
  kept: (conversation: string, message: string, resumed: Resumed) => void;
}

const goesOn = new Set(["asking", "loading", "checking", "reading"]);

/** Makes the conversation that is shown ready for its next message, once somebody stays with it. */
export class Resume {
  /** What is shown; `null` where that is no conversation. */
  conversation = $state<string | null>(null);
  phase = $state.raw<ResumePhase>({ kind: "idle" });
  /** Whether what goes on has lasted long enough to be shown. */
  lasting = $state(false);
  /** Whether somebody asked for an end. */
  cancelling = $state(false);
  /** What was done last, while its conversation is shown. */
  arrived = $state.raw<Resumed | null>(null);
  readonly running = $derived(goesOn.has(this.phase.kind));

  /** The conversation that is ready, also while another place is shown. */
  private ready: { conversation: string; message: string } | null = null;
  /** Whether the person has turned to the composer. */
  private writing = false;
  private trigger: ResumeTrigger = "opened";
  /** Number of the attempt that is heard; what earlier ones report comes too late. */
  private attempt = 0;
  private dwell: ReturnType<typeof setTimeout> | null = null;
  private patience: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly backend: Pick<Backend, "resume" | "stopResume">,
    private readonly circumstances: Circumstances,
  ) {}

  /** Another conversation is shown, or none: gives up what goes on for the one before. */
  show(conversation: string | null): void {
    if (conversation === this.conversation) return;
    this.giveUp();
    this.conversation = conversation;
    this.writing = false;
    this.arrived = null;
    if (conversation === null) this.phase = { kind: "idle" };
    else if (this.ready?.conversation === conversation) this.phase = { kind: "ready", ...this.ready };
    else this.linger();
  }

  /** The person is about to write: now a model may be loaded for it. */
  composing(): void {
    const { phase } = this;
    this.writing = true;
    if (this.circumstances.busy()) return;
    // Once: what then cannot be made ready is made ready by the message.
    const loads = phase.kind === "not_yet" && phase.why !== "nothing" && this.trigger === "opened";
    if (phase.kind === "idle" || phase.kind === "dwelling" || loads) void this.begin("composing");
  }

  /** The person wants the text to be read, whatever is there. */
  replay(): void {
    void this.begin("replay");
  }

  /** After it was cancelled or failed. */
  readNow(): void {
    void this.begin(this.trigger === "replay" ? "replay" : "composing");
  }

  /** The person chose between two models. */
  settled(): void {
    this.writing = true;
    if (!this.running) void this.begin("composing");
  }

  /** The person wants it to end. What was read so far stays read. */
  cancel(): void {
    const { conversation } = this;
    if (conversation === null || !this.running || this.cancelling) return;
    this.cancelling = true;
    this.backend.stopResume(conversation).catch(() => (this.cancelling = false));
  }

  /** The engine is free again. */
  again(): void {
    if (this.phase.kind !== "not_yet" || this.phase.why !== "busy") return;
    void this.begin(this.writing ? "composing" : "opened");
  }

  /** A message was sent: what goes on is waited for, what has not begun is no longer needed. */
  turnBegins(): void {
    this.ready = null;
    if (this.running) return;
    this.giveUp();
    this.phase = { kind: "idle" };
  }

  /** An answer was written: its conversation is ready behind it. */
  answered(conversation: string, message: string): void {
    this.ready = { conversation, message };
    if (conversation !== this.conversation || this.running) return;
    this.giveUp();
    this.phase = { kind: "ready", message };
  }

  /** What was ready may be so no longer. Nothing is begun for it. */
  forget(): void {
    this.ready = null;
    if (this.phase.kind === "ready") this.phase = { kind: "idle" };
  }

  /** Another model or other settings hold: begins anew. */
  restart(): void {
    this.ready = null;
    if (this.conversation === null) return;
    this.giveUp();
    this.linger();
  }

  private linger(): void {
    this.phase = { kind: "dwelling" };
    this.dwell = setTimeout(() => void this.begin(this.writing ? "composing" : "opened"), DWELL);
  }

  private async begin(trigger: ResumeTrigger): Promise<void> {
    const { conversation } = this;
    if (conversation === null) return;
    this.stopTimers();
    const attempt = (this.attempt += 1);
    this.trigger = trigger;
    this.cancelling = false;
    if (trigger !== "replay" && (await this.circumstances.held(conversation, trigger))) {
      if (attempt === this.attempt) this.phase = { kind: "held" };
      return;
    }
    if (attempt !== this.attempt) return;
    if (this.circumstances.busy()) {
      this.phase = { kind: "not_yet", why: "busy" };
      return;
    }
    this.ready = null;
    this.arrived = null;
    this.phase = { kind: "asking" };
    this.patience = setTimeout(() => (this.lasting = true), LASTING);
    try {
      await this.backend.resume(conversation, trigger, (update) => this.hear(attempt, conversation, update));
    } catch (reason) {
      if (attempt === this.attempt) this.end({ kind: "failed", error: asAppError(reason) });
    }
  }

  private hear(attempt: number, conversation: string, update: ResumeUpdate): void {
    if (update.kind === "ready" && update.resumed !== null) {
      this.circumstances.kept(conversation, update.message, update.resumed);
    }
    if (attempt !== this.attempt) return;
    switch (update.kind) {
      case "loading":
        this.phase = { kind: "loading", fraction: Math.min(1, Math.max(0, update.fraction)) };
        break;
      case "checking":
        this.phase = { kind: "checking" };
        break;
      case "reading": {
        const { done, of, tok_s: rate, left_ms: leftMs, reason } = update;
        this.phase = { kind: "reading", done, of, rate, leftMs, reason };
        break;
      }
      case "ready":
        this.ready = { conversation, message: update.message };
        this.arrived = update.resumed;
        this.end({ kind: "ready", message: update.message });
        break;
      case "not_yet":
        this.end({ kind: "not_yet", why: update.why });
        this.onNotYet(update.why);
        break;
      case "stopped":
        this.end(this.cancelling ? { kind: "cancelled" } : { kind: "idle" });
        break;
      case "failed":
        this.end({ kind: "failed", error: asAppError(update.error) });
        break;
    }
  }

  private onNotYet(why: NotYet): void {
    if (why === "busy") this.dwell = setTimeout(() => this.again(), ASK_AGAIN);
    // The person turned to the composer while it was found out that a model has to be loaded.
    else if (why !== "nothing" && this.writing && this.trigger === "opened") void this.begin("composing");
  }

  private end(phase: ResumePhase): void {
    this.stopTimers();
    this.cancelling = false;
    this.phase = phase;
  }

  private giveUp(): void {
    if (this.running && this.conversation !== null) {
      // Whether it could still be stopped changes nothing here.
      this.backend.stopResume(this.conversation).catch(() => undefined);
    }
    this.attempt += 1;
    this.cancelling = false;
    this.stopTimers();
  }

  private stopTimers(): void {
    if (this.dwell !== null) clearTimeout(this.dwell);
    if (this.patience !== null) clearTimeout(this.patience);
    this.dwell = null;
    this.patience = null;
    this.lasting = false;
  }
}
