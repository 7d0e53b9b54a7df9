// Making conversations ready, as the fake plays it.

import type { Check } from "../generated/Check";
import type { Crossing } from "../generated/Crossing";
import type { EditCost } from "../generated/EditCost";
import type { Mark } from "../generated/Mark";
import type { NotYet } from "../generated/NotYet";
import type { Outlook } from "../generated/Outlook";
import type { Reason } from "../generated/Reason";
import type { Receipt } from "../generated/Receipt";
import type { Resumed } from "../generated/Resumed";
import type { ResumeTrigger } from "../generated/ResumeTrigger";
import type { ResumeUpdate } from "../generated/ResumeUpdate";
import { receipt, receipts } from "./library";
import { type Stage, wait } from "./stage";

/** Tokens of a conversation. */
const TOKENS = 4096;
/** Tokens a second. */
const PACE = 220;
/** How long after an answer its state is on the disk, in milliseconds. */
const SAVED_AFTER = 300;

/** Reasons as the app words them, by code or by code and field. */
const words: Record<string, string> = {
  no_snapshot: "there is no snapshot of this conversation",
  integrity: "the snapshot was damaged and has been discarded: piece 3 of 12 is not what was saved",
  "identity.model": "the model file changed since this snapshot",
  "identity.engine": "Reprise and its engine were updated since this snapshot",
  "identity.kv_type": "the type of the KV cache changed",
  tokens: "the conversation before this point is not the one that was saved",
  restore: "llama.cpp refused the state",
  challenge:
    "the restored state did not answer as it did when it was saved: the logits differ (distance 0.4127; equality is demanded here)",
  too_short: "so short a conversation is read faster than it is restored",
  replay_cheaper: "reading the text is faster here than restoring the state",
  evicted: "the snapshot was evicted",
  unqualified: "states of this model do not survive here: the answers differ after a restore",
  engine_died: "the engine was lost while it took the snapshot in",
  always_replay: "this conversation is set to be replayed each time",
  asked: "you asked for it",
  other_model: "another model is loaded",
};

/** Checks in their order, and what each of them says where it fails. */
const failing: Record<string, string> = {
  integrity: "piece 3 of 12 is not what was saved",
  identity: "model differs",
  tokens: "1024 of 4096 tokens",
  restore: "llama.cpp refused the state",
  challenge: "the logits differ (distance 0.4127; equality is demanded here)",
};

/** Why conversations are not instant, by their place in the list; the others are. */
const notInstant: Record<number, string> = {
  2: "no_snapshot",
  5: "identity.model",
  7: "evicted",
  9: "too_short",
  11: "identity.engine",
};

function reasonOf(name: string): Reason {
  const [code = "", field = null] = name.split(".");
  return { code, message: words[name] ?? words[code] ?? name, field };
}

/** The checks that were made until the one that failed. */
function checksUntil(code: string): Check[] {
  const at = receipts.restored.checks.findIndex((check) => check.name === code);
  return receipts.restored.checks
    .slice(0, at + 1)
    .map((check, index) => (index < at ? check : { ...check, ok: false, detail: failing[code] ?? "" }));
}

/** One attempt that goes on. */
interface Attempt {
  conversation: string;
  stopped: boolean;
  ended: Promise<void>;
}

export class Resumes {
  /** The conversation that is in the KV cache. */
  private live: string | null = null;
  private current: Attempt | null = null;
  /** Models that wrote the last answer, where it is known. */
  private readonly wrote = new Map<string, string>();
  private lastAt = 0;

  constructor(private readonly stage: Stage) {}

  async resume(
    conversation: string,
    trigger: ResumeTrigger,
    hear: (update: ResumeUpdate) => void,
  ): Promise<void> {
    await this.stage.reply("resume_conversation", [conversation, trigger], () => undefined);
    await this.stop(this.current?.conversation ?? "", false);
    const attempt: Attempt = { conversation, stopped: false, ended: Promise.resolve() };
    this.current = attempt;
    attempt.ended = this.play(attempt, trigger, hear).finally(() => {
      if (this.current === attempt) this.current = null;
    });
    await attempt.ended;
  }

  stop(conversation: string, asked = true): Promise<void> {
    const done = () => {
      if (this.current?.conversation !== conversation) return;
      this.current.stopped = true;
      this.stage.release();
    };
    if (asked) return this.stage.reply("stop_resume", [conversation], done);
    done();
    return this.current?.ended ?? Promise.resolve();
  }

  /** What a turn has to wait for; another conversation's is ended by it. */
  async giveWay(conversation: string, queued: () => void): Promise<void> {
    const { current } = this;
    if (current === null) return;
    if (current.conversation === conversation) {
      queued();
    } else {
      current.stopped = true;
      this.stage.release();
    }
    await current.ended;
  }

  /** An answer was written; its state is kept a moment later. */
  answered(conversation: string): void {
    this.live = conversation;
    this.wrote.set(conversation, this.chosen() ?? "");
    setTimeout(() => {
      this.stage.say({ kind: "saved", conversation, at: Date.now() });
      this.stage.say({ kind: "marks" });
    }, SAVED_AFTER);
  }

  marks(conversations: string[]): Promise<Mark[]> {
    return this.stage.reply("marks", [conversations], () => conversations.map((id) => this.mark(id)));
  }

  outlook(conversation: string): Promise<Outlook> {
    return this.stage.reply("outlook", [conversation], () => {
      const { unmeasured } = this.stage.play;
      const own = this.stage
        .conversation(conversation)
        .view.messages.filter(({ speaker }) => speaker === "user");
      const edits = own.map((message, index): EditCost => {
        const tokens = 1024 * (own.length - index);
        return { message: message.id, tokens, ms: unmeasured ? null : (1000 * tokens) / PACE };
      });
      return {
        conversation,
        tokens: TOKENS,
        replay_ms: unmeasured ? null : (1000 * TOKENS) / PACE,
        mark: this.mark(conversation),
        edits,
        crossing: this.crossing(conversation),
      };
    });
  }

  private async play(
    attempt: Attempt,
    trigger: ResumeTrigger,
    hear: (update: ResumeUpdate) => void,
  ): Promise<void> {
    const { conversation } = attempt;
    const { stage } = this;
    const stopped = () => {
      if (attempt.stopped) hear({ kind: "stopped" });
      return attempt.stopped;
    };
    const { messages } = stage.conversation(conversation).view;
    const message = messages.findLast((one) => one.speaker === "assistant")?.id;
    const why = this.notYet(trigger, message === undefined);
    if (why !== null || message === undefined) return hear({ kind: "not_yet", why: why ?? "nothing" });
    if (stage.engine().phase.kind === "idle") {
      for (const fraction of [0, 0.25, 0.63]) {
        stage.engineIs({ kind: "loading", fraction });
        hear({ kind: "loading", fraction });
        if (fraction === 0.63) await stage.held("loading");
        await wait(150);
      }
      stage.engineIs({ kind: "ready" });
      if (stopped()) return;
    }
    if (this.live === conversation && trigger !== "replay") {
      return hear({ kind: "ready", message, resumed: null });
    }
    const always = stage.conversation(conversation).view.choices.always_replay ? "always_replay" : null;
    const name =
      trigger === "replay" ? "asked" : (always ?? stage.play.opening ?? this.expected(conversation));
    if (name === "ready") return hear({ kind: "ready", message, resumed: null });
    if (name === "failed") {
      const error = {
        code: "engine_died",
        message: "The engine stopped (signal 9).",
        remedy: "Try it again.",
      };
      return hear({ kind: "failed", error });
    }
    hear({ kind: "checking" });
    await stage.held("checking");
    await wait(trigger === "replay" ? 10 : 80);
    if (stopped()) return;
    if (name !== "restored" && !(await this.read(attempt, reasonOf(name), hear))) {
      hear({ kind: "stopped" });
      return;
    }
    this.live = conversation;
    hear({ kind: "ready", message, resumed: this.keep(conversation, message, this.done(name)) });
    stage.say({ kind: "marks" });
  }

  private notYet(trigger: ResumeTrigger, empty: boolean): NotYet | null {
    const { phase } = this.stage.engine();
    if (phase.kind === "answering" || phase.kind === "loading") return "busy";
    if (empty) return "nothing";
    if (phase.kind === "absent") return "not_loaded";
    if (trigger !== "opened") return null;
    if (phase.kind === "idle") return "not_loaded";
    return this.stage.play.opening === "other_model" ? "other_model" : null;
  }

  /** Reads the text. Gives whether it came to the end. */
  private async read(
    attempt: Attempt,
    reason: Reason,
    hear: (update: ResumeUpdate) => void,
  ): Promise<boolean> {
    const { replayMs } = this.stage.play;
    const steps = Math.max(4, Math.round(replayMs / 100));
    for (let step = 0; step <= steps; step += 1) {
      const done = Math.round((TOKENS * step) / steps);
      const told =
        step === 0
          ? { tok_s: null, left_ms: null }
          : { tok_s: PACE, left_ms: (1000 * (TOKENS - done)) / PACE };
      hear({ kind: "reading", done, of: TOKENS, ...told, reason });
      if (step === Math.round(steps / 4)) await this.stage.held("replaying");
      await wait(replayMs / steps);
      if (attempt.stopped) return false;
    }
    return true;
  }

  private done(name: string): Receipt {
    if (name === "restored") return { ...receipts.restored };
    const reason = reasonOf(name);
    return receipt("replayed", TOKENS, {
      ms: (1000 * TOKENS) / PACE,
      estimated_replay_ms: 18_400,
      reason,
      checks: checksUntil(reason.code),
    });
  }

  /** Keeps a receipt with its message, the last eight of them. */
  private keep(conversation: string, id: string, done: Receipt): Resumed {
    const { view, all } = this.stage.conversation(conversation);
    this.lastAt = Math.max(Date.now(), this.lastAt + 1);
    const resumed = { at: this.lastAt, receipt: done };
    const old = all.get(id);
    if (old !== undefined) {
      const resumes = [...old.resumes, resumed];
      const gone = Math.max(0, resumes.length - 8);
      const message = { ...old, resumes: resumes.slice(gone), resumes_before: old.resumes_before + gone };
      all.set(id, message);
      view.messages = view.messages.map((one) => (one.id === id ? message : one));
    }
    return resumed;
  }

  /** What the list says of a conversation, and what opening it comes to. */
  private expected(conversation: string): string {
    if (this.live === conversation) return "restored";
    const at = Number(/^c(\d+)$/u.exec(conversation)?.[1] ?? 0);
    return notInstant[at] ?? "restored";
  }

  private mark(conversation: string): Mark {
    const name = this.expected(conversation);
    return name === "restored"
      ? { conversation, instant: true, reason: null }
      : { conversation, instant: false, reason: reasonOf(name) };
  }

  private chosen(): string | undefined {
    return this.stage.models().find((model) => model.chosen)?.id;
  }

  private crossing(conversation: string): Crossing | null {
    const { play } = this.stage;
    const models = this.stage.models();
    const now = models.find((model) => model.chosen);
    const before = models.find((model) => model.id === (this.wrote.get(conversation) ?? "m1"));
    if (play.crossing === null || now === undefined || before === undefined || now.id === before.id)
      return null;
    const known = play.crossing === "known";
    return {
      before: {
        model: play.crossing === "gone" ? null : before.id,
        name: before.name,
        load_ms: known ? 3000 : null,
        instant: known,
        ready_ms: known ? 83 : null,
      },
      now: {
        model: now.id,
        name: now.name,
        load_ms: known ? 0 : null,
        instant: false,
        ready_ms: known ? 18_400 : null,
      },
    };
  }
}
