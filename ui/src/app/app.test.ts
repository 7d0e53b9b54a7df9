import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Fake, type Play } from "../ipc/fake/fake";
import { App } from "./app.svelte";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function started(play: Partial<Play> = {}) {
  const fake = new Fake({ conversations: 5, ...play });
  const app = new App(fake, () => Date.now());
  await app.start();
  return { fake, app };
}

const commands = (fake: Fake) => fake.calls.map((call) => call.command);

test("a first message begins a conversation, which is then the one that is shown", async () => {
  const { fake, app } = await started({ answer: "Hello there." });
  app.drafts.write(null, "Hi");
  await app.send();
  expect(app.place.conversation).not.toBeNull();
  expect(app.drafts.of(null)).toBe("");
  expect(fake.drafts.get(null)).toBe("");
  expect(app.answering).toBe(true);
  await vi.runAllTimersAsync();
  expect(app.answering).toBe(false);
  expect(app.shown?.messages.map((one) => one.text)).toEqual(["Hi", "Hello there."]);
  expect(app.conversations.rows[0]).toMatchObject({ id: app.place.conversation, title: "Hi", messages: 2 });
  expect(app.turn).toBeNull();
});

test("a message that could not be kept is back in the composer, and the failure is told", async () => {
  const { fake, app } = await started();
  fake.play.failing = { take_turn: { code: "disk_full", message: "Full.", remedy: "Free some." } };
  app.drafts.write(null, "Precious words");
  await app.send();
  expect(app.drafts.of(null)).toBe("Precious words");
  expect(app.banner.shown).toMatchObject({ error: { code: "disk_full" } });
  expect(app.answering).toBe(false);
});

test("what the app answers goes on when another conversation is opened, and is there on the way back", async () => {
  const { app } = await started({ answer: "word ".repeat(40) });
  await app.open("c0");
  app.drafts.write("c0", "Go on");
  await app.send();
  await vi.advanceTimersByTimeAsync(200);
  await app.open("c1");
  expect(app.answering).toBe(false);
  expect(app.turns.running("c0")).toBe(true);
  const before = app.turns.of("c0")?.tokens ?? 0;
  await vi.advanceTimersByTimeAsync(200);
  await app.open("c0");
  expect(app.answering).toBe(true);
  expect(app.shown?.grown.length).toBeGreaterThan(before);
  await vi.runAllTimersAsync();
  expect(app.shown?.messages.at(-1)?.text).toBe("word ".repeat(40));
});

test("nothing is sent while this conversation is being answered", async () => {
  const { fake, app } = await started({ hold: "reading" });
  await app.open("c0");
  app.drafts.write("c0", "One");
  await app.send();
  app.drafts.write("c0", "Two");
  await app.send();
  expect(commands(fake).filter((command) => command === "take_turn").length).toBe(1);
  expect(app.drafts.of("c0")).toBe("Two");
  fake.release();
  await vi.runAllTimersAsync();
});

test("a turn that waits says so, and another conversation's turn does not hold this one's composer", async () => {
  const { fake, app } = await started({ hold: "queued" });
  await app.open("c0");
  app.drafts.write("c0", "One");
  await app.send();
  expect(app.turn?.phase.kind).toBe("queued");
  await app.open("c1");
  expect(app.answering).toBe(false);
  fake.release();
  await vi.runAllTimersAsync();
});

test("stop asks once and leaves what was written", async () => {
  const { fake, app } = await started({ answer: "word ".repeat(80) });
  await app.open("c0");
  app.drafts.write("c0", "Go");
  await app.send();
  await vi.advanceTimersByTimeAsync(300);
  app.stop();
  app.stop();
  await vi.runAllTimersAsync();
  expect(commands(fake).filter((command) => command === "stop_turn").length).toBe(1);
  const last = app.shown?.messages.at(-1);
  expect(last?.state).toBe("stopped");
  expect(last?.text.length).toBeGreaterThan(0);
});

test("a failed turn stays until it is tried again, with its part", async () => {
  const { fake, app } = await started({ failAfter: 3 });
  await app.open("c0");
  app.drafts.write("c0", "Go");
  await app.send();
  await vi.runAllTimersAsync();
  expect(app.turn?.error?.code).toBe("engine_died");
  expect(app.shown?.messages.at(-1)?.state).toBe("interrupted");
  fake.play.failAfter = null;
  const question = app.turn?.question ?? "";
  await app.retry(question);
  await vi.runAllTimersAsync();
  expect(app.turn).toBeNull();
  expect(app.shown?.messages.at(-1)).toMatchObject({ state: "complete", parent: question });
  expect(app.shown?.messages.at(-1)?.versions.length).toBe(2);
});

test("a turn that fails out of sight is told in a banner that leads to it", async () => {
  const { app } = await started({ failAfter: 3 });
  await app.open("c0");
  app.drafts.write("c0", "Go");
  await app.send();
  await app.open("c1");
  await vi.runAllTimersAsync();
  const told = app.banner.shown;
  expect(told).toMatchObject({ kind: "error", error: { code: "engine_died" } });
  if (told?.kind === "error") told.show?.();
  await vi.runAllTimersAsync();
  expect(app.place.conversation).toBe("c0");
});

test("an edit makes a second version, and one can step between them", async () => {
  const { app } = await started();
  await app.open("c0");
  const first = app.shown?.messages[2];
  await app.edit(first?.id ?? "", "Said otherwise");
  await vi.runAllTimersAsync();
  const edited = app.shown?.messages[2];
  expect(edited).toMatchObject({ text: "Said otherwise", versions: [first?.id, edited?.id] });
  expect(app.shown?.messages.length).toBe(4);
  if (edited) await app.step(edited, -1);
  expect(app.shown?.messages[2]?.id).toBe(first?.id);
});

test("a deleted conversation is left, and its undo brings it back and shows it again", async () => {
  const { app } = await started();
  await app.open("c2");
  await app.trash("c2");
  expect(app.place.conversation).toBeNull();
  expect(app.conversations.find("c2")).toBeUndefined();
  const done = app.toast.shown;
  if (done?.kind === "deleted") done.undo();
  await vi.runAllTimersAsync();
  expect(app.conversations.find("c2")).toBeDefined();
  expect(app.place.conversation).toBe("c2");
});

test("a hit on another branch shows that branch", async () => {
  const { fake, app } = await started({ states: true });
  await app.open("c0", "c0.m3a");
  expect(commands(fake)).toContain("show_version");
  expect(app.shown?.find("c0.m3a")).toBeDefined();
  expect(app.place.message).toBe("c0.m3a");
});

test("a start that fails shows why, and nothing else", async () => {
  const { app } = await started({
    failing: { start: { code: "data_newer", message: "Newer.", remedy: "Update." } },
  });
  expect(app.trouble?.code).toBe("data_newer");
});

test("a refused file is told; a dropped one is there", async () => {
  const { fake, app } = await started({ models: 0 });
  fake.say({ kind: "dragging", over: true });
  expect(app.models.dragging).toBe(true);
  const error = { code: "model_not_gguf", message: "Not GGUF.", remedy: "Another." };
  fake.say({ kind: "dropped", choice: { kind: "refused", error } });
  expect([app.models.dragging, app.models.usable]).toEqual([false, false]);
  expect(app.banner.shown).toMatchObject({ error: { code: "model_not_gguf" } });
  await app.pickModel();
  expect(app.models.usable).toBe(true);
});

test("a state that is not kept is told", async () => {
  const { fake, app } = await started();
  const error = { code: "disk_low", message: "The state was not saved.", remedy: "Free some space." };
  fake.say({ kind: "not_saved", error });
  expect(app.banner.shown).toMatchObject({ kind: "error", error: { code: "disk_low" } });
});

test("a lost engine is told, unless the turn on the screen tells it", async () => {
  const { fake, app } = await started({ hold: "reading" });
  const error = { code: "engine_died", message: "Died.", remedy: "Again." };
  await app.open("c0");
  app.drafts.write("c0", "Go");
  await app.send();
  fake.say({ kind: "engine_lost", error });
  expect(app.banner.shown).toBeNull();
  await app.open("c1");
  fake.say({ kind: "engine_lost", error });
  expect(app.banner.shown).toMatchObject({ error: { code: "engine_died" } });
  fake.release();
  await vi.runAllTimersAsync();
});
