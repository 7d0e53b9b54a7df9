import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { receipts } from "../ipc/fake/library";
import type { ResumeTrigger } from "../ipc/generated/ResumeTrigger";
import type { ResumeUpdate } from "../ipc/generated/ResumeUpdate";
import { DWELL, LASTING, Resume } from "./resume.svelte";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A backend that says what the test says. */
class Scripted {
  readonly asked: { conversation: string; trigger: ResumeTrigger; tell: (update: ResumeUpdate) => void }[] =
    [];
  readonly stopped: string[] = [];

  resume(conversation: string, trigger: ResumeTrigger, tell: (update: ResumeUpdate) => void): Promise<void> {
    return new Promise((resolve) => {
      const last = new Set(["ready", "not_yet", "stopped", "failed"]);
      this.asked.push({
        conversation,
        trigger,
        tell: (update) => {
          tell(update);
          if (last.has(update.kind)) resolve();
        },
      });
    });
  }

  stopResume(conversation: string): Promise<void> {
    this.stopped.push(conversation);
    return Promise.resolve();
  }

  get triggers(): string[] {
    return this.asked.map(({ conversation, trigger }) => `${conversation} ${trigger}`);
  }

  tell(update: ResumeUpdate): void {
    this.asked.at(-1)?.tell(update);
  }
}

function made() {
  const backend = new Scripted();
  const now = { busy: false, held: false };
  const kept: string[] = [];
  const resume = new Resume(backend, {
    busy: () => now.busy,
    held: () => Promise.resolve(now.held),
    kept: (conversation, message) => kept.push(`${conversation} ${message}`),
  });
  return { backend, now, kept, resume };
}

const dwelt = () => vi.advanceTimersByTimeAsync(DWELL);
const settled = () => vi.advanceTimersByTimeAsync(0);
const reading = (done: number): ResumeUpdate => ({
  kind: "reading",
  done,
  of: 4096,
  tok_s: 220,
  left_ms: 14_000,
  reason: { code: "no_snapshot", message: "there is no snapshot of this conversation", field: null },
});
const ready: ResumeUpdate = { kind: "ready", message: "a2", resumed: { at: 1, receipt: receipts.restored } };

test("a conversation is made ready once somebody stayed with it", async () => {
  const { backend, kept, resume } = made();
  resume.show("c0");
  await vi.advanceTimersByTimeAsync(DWELL - 1);
  expect(backend.asked).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(backend.triggers).toEqual(["c0 opened"]);
  backend.tell({ kind: "checking" });
  expect(resume.phase.kind).toBe("checking");
  backend.tell(ready);
  expect(resume.phase).toMatchObject({ kind: "ready", message: "a2" });
  expect(resume.arrived).toMatchObject({ at: 1 });
  expect(kept).toEqual(["c0 a2"]);
});

test("who passes by asks for nothing, and who leaves stops what goes on", async () => {
  const { backend, resume } = made();
  for (const id of ["c0", "c1", "c2"]) {
    resume.show(id);
    await vi.advanceTimersByTimeAsync(DWELL - 100);
  }
  await dwelt();
  expect(backend.triggers).toEqual(["c2 opened"]);
  const [left] = backend.asked;
  left?.tell(reading(10));
  resume.show(null);
  expect(backend.stopped).toEqual(["c2"]);
  expect(resume.phase.kind).toBe("idle");
  left?.tell(reading(20));
  expect(resume.phase.kind).toBe("idle");
  left?.tell({ kind: "stopped" });
  expect(resume.phase.kind).toBe("idle");
});

test("a receipt that comes after somebody left is kept all the same", async () => {
  const { backend, kept, resume } = made();
  resume.show("c0");
  await dwelt();
  resume.show("c1");
  backend.asked[0]?.tell(ready);
  expect(kept).toEqual(["c0 a2"]);
  expect([resume.phase.kind, resume.arrived]).toEqual(["dwelling", null]);
});

test("nothing is asked for while an answer runs, and again once the engine is free", async () => {
  const { backend, now, resume } = made();
  now.busy = true;
  resume.show("c0");
  await dwelt();
  expect(backend.asked).toEqual([]);
  expect(resume.phase).toEqual({ kind: "not_yet", why: "busy" });
  resume.again();
  await settled();
  expect(backend.asked).toEqual([]);
  now.busy = false;
  resume.again();
  await settled();
  expect(backend.triggers).toEqual(["c0 opened"]);
  // The app may know of an answer that the page does not know yet.
  backend.tell({ kind: "not_yet", why: "busy" });
  resume.again();
  await settled();
  expect(backend.triggers).toEqual(["c0 opened", "c0 opened"]);
});

test("who writes ahead while an answer runs asks for nothing, also after it", async () => {
  const { backend, now, resume } = made();
  resume.show("c0");
  resume.turnBegins();
  now.busy = true;
  resume.composing();
  await settled();
  expect(resume.phase.kind).toBe("idle");
  now.busy = false;
  resume.answered("c0", "a3");
  resume.again();
  await dwelt();
  expect(backend.asked).toEqual([]);
});

test("an engine that gets free asks nothing for a conversation that is no longer shown", async () => {
  const { backend, now, resume } = made();
  now.busy = true;
  resume.show("c0");
  await dwelt();
  resume.show(null);
  now.busy = false;
  resume.again();
  await settled();
  expect(backend.asked).toEqual([]);
});

test("a model is loaded for who turns to the composer, and for nobody else", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  await dwelt();
  backend.tell({ kind: "not_yet", why: "not_loaded" });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(backend.triggers).toEqual(["c0 opened"]);
  resume.composing();
  await settled();
  backend.tell({ kind: "loading", fraction: 0.5 });
  expect(resume.phase).toEqual({ kind: "loading", fraction: 0.5 });
  resume.composing();
  backend.tell({ kind: "not_yet", why: "not_loaded" });
  // Typing on asks no more.
  resume.composing();
  await settled();
  expect(backend.triggers).toEqual(["c0 opened", "c0 composing"]);
});

test("who turns to the composer early is not forgotten", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  await dwelt();
  resume.composing();
  backend.tell({ kind: "not_yet", why: "other_model" });
  await settled();
  expect(backend.triggers).toEqual(["c0 opened", "c0 composing"]);
  const other = made();
  other.resume.show("c0");
  other.resume.composing();
  await settled();
  expect(other.backend.triggers).toEqual(["c0 composing"]);
});

test("between two models nothing is done before the person chose", async () => {
  const { backend, now, resume } = made();
  now.held = true;
  resume.show("c0");
  await dwelt();
  resume.composing();
  await settled();
  expect(backend.asked).toEqual([]);
  expect(resume.phase.kind).toBe("held");
  now.held = false;
  resume.settled();
  await settled();
  expect(backend.triggers).toEqual(["c0 composing"]);
});

test("what lasts is shown, what does not is not", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  await dwelt();
  backend.tell({ kind: "checking" });
  await vi.advanceTimersByTimeAsync(LASTING - 1);
  expect(resume.lasting).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(resume.lasting).toBe(true);
  backend.tell(ready);
  expect(resume.lasting).toBe(false);
  await vi.advanceTimersByTimeAsync(LASTING);
  expect(resume.lasting).toBe(false);
});

test("a reading that is cancelled stays so until the person wants it", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  await dwelt();
  backend.tell(reading(1024));
  resume.cancel();
  resume.cancel();
  expect(backend.stopped).toEqual(["c0"]);
  backend.tell({ kind: "stopped" });
  expect(resume.phase.kind).toBe("cancelled");
  resume.composing();
  resume.again();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(backend.asked.length).toBe(1);
  resume.readNow();
  await settled();
  expect(backend.triggers).toEqual(["c0 opened", "c0 composing"]);
});

test("an end that nobody asked for says nothing", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  await dwelt();
  backend.tell(reading(1024));
  backend.tell({ kind: "stopped" });
  expect(resume.phase.kind).toBe("idle");
});

test("what is ready is not asked for again, until something changes it", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  await dwelt();
  backend.tell(ready);
  resume.composing();
  resume.show(null);
  resume.show("c0");
  await dwelt();
  resume.show("c1");
  resume.show("c0");
  await dwelt();
  expect(resume.phase).toMatchObject({ kind: "ready", message: "a2" });
  expect(backend.triggers).toEqual(["c0 opened"]);
  resume.forget();
  expect(resume.phase.kind).toBe("idle");
  resume.show(null);
  resume.show("c0");
  await dwelt();
  expect(backend.triggers).toEqual(["c0 opened", "c0 opened"]);
});

test("another conversation that was made ready takes the place of the one before", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  await dwelt();
  backend.tell(ready);
  resume.show("c1");
  await dwelt();
  backend.tell({ ...ready, message: "b2" });
  resume.show("c0");
  await dwelt();
  expect(backend.triggers).toEqual(["c0 opened", "c1 opened", "c0 opened"]);
});

test("a message takes the place of what has not begun, and what goes on stays on the screen", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  resume.turnBegins();
  await dwelt();
  expect(backend.asked).toEqual([]);
  resume.answered("c0", "a3");
  expect(resume.phase).toMatchObject({ kind: "ready", message: "a3" });
  resume.show("c1");
  await dwelt();
  backend.tell(reading(1024));
  resume.turnBegins();
  expect(resume.phase).toMatchObject({ kind: "reading", done: 1024 });
  expect(backend.stopped).toEqual([]);
});

test("another model begins anew", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  await dwelt();
  backend.tell(reading(1024));
  resume.restart();
  expect(backend.stopped).toEqual(["c0"]);
  await dwelt();
  expect(backend.triggers).toEqual(["c0 opened", "c0 opened"]);
});

test("a replay is what the person asked for, also where something is held or ready", async () => {
  const { backend, now, resume } = made();
  resume.show("c0");
  await dwelt();
  backend.tell(ready);
  now.held = true;
  resume.replay();
  await settled();
  expect(backend.triggers).toEqual(["c0 opened", "c0 replay"]);
  backend.tell(reading(1));
  resume.cancel();
  backend.tell({ kind: "stopped" });
  resume.readNow();
  await settled();
  expect(backend.triggers.at(-1)).toBe("c0 replay");
});

test("a failure is kept with what the app said", async () => {
  const { backend, resume } = made();
  resume.show("c0");
  await dwelt();
  backend.tell({ kind: "failed", error: { code: "engine_died", message: "Died.", remedy: "Again." } });
  expect(resume.phase).toMatchObject({ kind: "failed", error: { code: "engine_died" } });
});
