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

const resumed = (fake: Fake) =>
  fake.calls.filter(({ command }) => command === "resume_conversation").map(({ given }) => given.join(" "));

test("a conversation that is opened is made ready, and its receipt stands at its end", async () => {
  const { fake, app } = await started();
  await app.open("c0");
  await vi.advanceTimersByTimeAsync(399);
  expect(resumed(fake)).toEqual([]);
  await vi.advanceTimersByTimeAsync(200);
  expect(resumed(fake)).toEqual(["c0 opened"]);
  expect(app.resume.arrived?.receipt.path).toBe("restored");
  expect(app.shown?.messages.at(-1)?.resumes.map(({ receipt }) => receipt.path)).toEqual(["restored"]);
  expect(app.shown?.messages[0]?.resumes).toEqual([]);
});

test("who goes to the settings or another conversation stops what goes on", async () => {
  const { fake, app } = await started({ opening: "no_snapshot" });
  await app.open("c0");
  await vi.advanceTimersByTimeAsync(1000);
  expect(app.resume.phase.kind).toBe("reading");
  app.place.view = "settings";
  await vi.advanceTimersByTimeAsync(10);
  expect(commands(fake)).toContain("stop_resume");
  app.place.view = "conversation";
  await vi.advanceTimersByTimeAsync(1000);
  expect(resumed(fake)).toEqual(["c0 opened", "c0 opened"]);
  await app.open("c1");
  await app.open("c2");
  await vi.runAllTimersAsync();
  expect(resumed(fake)).toEqual(["c0 opened", "c0 opened", "c2 opened"]);
});

test("nothing is made ready beside an answer; it is once the engine is free", async () => {
  const { fake, app } = await started({ answer: "word ".repeat(80) });
  await app.open("c0");
  app.drafts.write("c0", "Go");
  await app.send();
  await app.open("c1");
  await vi.advanceTimersByTimeAsync(1000);
  expect(app.turns.running("c0")).toBe(true);
  expect(resumed(fake)).toEqual([]);
  await vi.runAllTimersAsync();
  expect(resumed(fake)).toEqual(["c1 opened"]);
  expect(app.resume.arrived?.receipt.path).toBe("restored");
});

test("an engine that is free before its answer is told to be over is not missed", async () => {
  const { fake, app } = await started({ answer: "word ".repeat(80) });
  await app.open("c0");
  app.drafts.write("c0", "Go");
  await app.send();
  await app.open("c1");
  await vi.advanceTimersByTimeAsync(1000);
  const say = fake.say.bind(fake);
  say({ kind: "engine", engine: { ...app.engine.view, phase: { kind: "ready" } } });
  fake.say = (event) => (event.kind === "engine" ? undefined : say(event));
  await vi.advanceTimersByTimeAsync(100);
  expect(resumed(fake)).toEqual([]);
  await vi.runAllTimersAsync();
  expect(resumed(fake)).toEqual(["c1 opened"]);
});

test("a conversation that was just answered is ready as it is", async () => {
  const { fake, app } = await started({ answer: "Yes." });
  await app.open("c0");
  app.drafts.write("c0", "Go");
  await app.send();
  await vi.runAllTimersAsync();
  app.resume.composing();
  await vi.runAllTimersAsync();
  // What was saved since may have changed that, so the composer asks once.
  expect(resumed(fake)).toEqual(["c0 composing"]);
  expect(app.shown?.messages.at(-1)?.resumes).toEqual([]);
});

test("a message that is sent while the conversation is read waits for it, and nothing is stopped", async () => {
  const { fake, app } = await started({ opening: "no_snapshot", answer: "Yes." });
  await app.open("c0");
  await vi.advanceTimersByTimeAsync(1000);
  app.drafts.write("c0", "Go");
  await app.send();
  expect(app.resume.phase.kind).toBe("reading");
  expect(app.turn?.phase.kind).toBe("queued");
  await vi.runAllTimersAsync();
  expect(commands(fake)).not.toContain("stop_resume");
  const [answered, , answer] = app.shown?.messages.slice(-3) ?? [];
  expect(answered?.resumes.map(({ receipt }) => receipt.path)).toEqual(["replayed"]);
  expect(answer?.text).toBe("Yes.");
});

test("between two models nothing is read before the person chose, and the one before is then loaded", async () => {
  const { fake, app } = await started({ crossing: "known" });
  await app.open("c0");
  await vi.runAllTimersAsync();
  app.resume.composing();
  await vi.runAllTimersAsync();
  expect(resumed(fake)).toEqual([]);
  expect(app.outlook.crossing?.before.model).toBe("m1");
  await app.useBefore("m1");
  await vi.runAllTimersAsync();
  expect(app.models.chosen?.id).toBe("m1");
  expect(app.outlook.crossing).toBeNull();
  expect(resumed(fake)).toEqual(["c0 composing"]);
});

test("to go on with the chosen model reads the conversation with it", async () => {
  const { fake, app } = await started({ crossing: "known" });
  await app.open("c0");
  await vi.runAllTimersAsync();
  app.goOn();
  await vi.runAllTimersAsync();
  expect(app.outlook.crossing).toBeNull();
  expect(resumed(fake)).toEqual(["c0 composing"]);
  expect(app.models.chosen?.id).toBe("m0");
});

test("another branch is made ready anew", async () => {
  const { fake, app } = await started({ states: true });
  await app.open("c0");
  await vi.runAllTimersAsync();
  await app.open("c0", "c0.m3a");
  await vi.runAllTimersAsync();
  expect(resumed(fake)).toEqual(["c0 opened", "c0 opened"]);
});

test("when a state was saved is told for the conversation that is shown", async () => {
  const { fake, app } = await started();
  await app.open("c0");
  fake.say({ kind: "saved", conversation: "c1", at: 5 });
  expect(app.savedAt).toBeNull();
  fake.say({ kind: "saved", conversation: "c0", at: 7 });
  expect(app.savedAt).toBe(7);
  await app.open("c1");
  expect(app.savedAt).toBe(5);
});

test("a message is named without disturbing the answer that grows", async () => {
  const { fake, app } = await started({ hold: "answering" });
  await app.open("c0");
  app.drafts.write("c0", "Go");
  await app.send();
  await vi.advanceTimersByTimeAsync(2000);
  const grown = app.shown?.grown;
  expect(grown).not.toBe("");
  expect(await app.namePoint("c0.m1", "Here")).toBeNull();
  expect(app.shown?.named("c0.m1")).toMatchObject({ name: "Here" });
  expect([app.shown?.grown, app.shown?.growing]).toEqual([grown, app.shown?.messages.at(-1)?.id]);
  fake.play.failing = { name_checkpoint: { code: "conflict", message: "No.", remedy: "Again." } };
  // Who asked tells it: no banner.
  expect(await app.namePoint("c0.m1", "There")).toMatchObject({ code: "conflict" });
  expect(app.shown?.named("c0.m1")).toMatchObject({ name: "Here" });
  expect(app.banner.shown).toBeNull();
  fake.release();
  await vi.runAllTimersAsync();
});

test("a name that is taken off comes back with the undo", async () => {
  const { app } = await started();
  await app.open("c0");
  await app.namePoint("c0.m1", "Here");
  await app.forgetPoint("c0.m1");
  expect(app.shown?.checkpoints).toEqual([]);
  const { shown } = app.toast;
  if (shown?.kind !== "unnamed") throw new Error("no undo");
  shown.undo();
  await vi.advanceTimersByTimeAsync(0);
  expect(app.shown?.named("c0.m1")).toMatchObject({ name: "Here" });
  expect(app.toast.shown).toBeNull();
});

test("other instructions show the copy behind them; the branch before stays", async () => {
  const { fake, app } = await started();
  await app.open("c0");
  const before = app.shown?.messages.map((one) => one.id);
  expect(await app.changeInstructions("Short answers.")).toBeNull();
  expect(app.shown?.system).toBe("Short answers.");
  const first = app.shown?.messages[0];
  expect(first?.versions).toEqual([before?.[0], first?.id]);
  expect(app.toast.shown).toEqual({ kind: "branched" });
  if (first) await app.step(first, -1);
  expect(app.shown?.messages.map((one) => one.id)).toEqual(before);
  expect(app.shown?.system).toBeNull();
  fake.play.failing = { change_instructions: { code: "turn_open", message: "No.", remedy: "Wait." } };
  expect(await app.changeInstructions("Long answers.")).toMatchObject({ code: "turn_open" });
  expect(app.shown?.messages.map((one) => one.id)).toEqual(before);
});

test("a choice that could not be kept is not shown as made", async () => {
  const { fake, app } = await started();
  await app.open("c0");
  expect(await app.choose({ always_replay: true })).toBeNull();
  expect(app.shown?.choices).toEqual({ always_replay: true, always_cpu: false });
  fake.play.failing = { choose_for_conversation: { code: "disk_full", message: "Full.", remedy: "Free." } };
  expect(await app.choose({ always_cpu: true })).toMatchObject({ code: "disk_full" });
  expect(app.shown?.choices).toEqual({ always_replay: true, always_cpu: false });
});

test("whether snapshots reach named messages is asked anew, and only what can change", async () => {
  const { fake, app } = await started();
  await app.open("c0");
  await app.namePoint("c0.m1", "Reached");
  const opened = () => commands(fake).filter((command) => command === "open_conversation").length;
  const before = opened();
  await app.lookAtPoints();
  expect(opened()).toBe(before);
  await app.namePoint("c0.m5", "Not yet");
  await app.lookAtPoints();
  expect(opened()).toBe(before + 1);
});
