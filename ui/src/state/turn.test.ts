import { expect, test } from "vitest";
import type { TurnUpdate } from "../ipc/generated/TurnUpdate";
import { answer, message } from "./messages.test-data";
import { Turn } from "./turn.svelte";

const died = { code: "engine_died", message: "The engine stopped.", remedy: "Again." };
const kept: TurnUpdate = { kind: "kept", conversation: "c", title: "T", message: message("q") };

function turned(updates: TurnUpdate[], now = () => 0): Turn {
  const turn = new Turn({ kind: "begin", text: "hi" }, now);
  for (const update of updates) turn.hear(update);
  return turn;
}

test("each update brings the turn to its phase", () => {
  const phases: [TurnUpdate[], string][] = [
    [[], "sending"],
    [[kept], "sending"],
    [[kept, { kind: "queued" }], "queued"],
    [[kept, { kind: "loading", fraction: 0.5 }], "loading"],
    [[kept, { kind: "prepared", tokens: 9, reused: 4 }], "preparing"],
    [[kept, { kind: "reading", done: 1, of: 5, left_ms: null }], "reading"],
    [[kept, { kind: "answering", message: answer("a", "q") }], "answering"],
    [[kept, { kind: "done", message: answer("a", "q"), context_used: 1 }], "done"],
    [[kept, { kind: "failed", error: died, message: null }], "failed"],
  ];
  for (const [updates, phase] of phases) expect(turned(updates).phase.kind).toBe(phase);
});

test("what is kept names the conversation and the question", () => {
  const turn = turned([kept]);
  expect([turn.conversation, turn.question]).toEqual(["c", "q"]);
});

test("a failure keeps its error and ends the turn", () => {
  const turn = turned([kept, { kind: "failed", error: died, message: null }]);
  expect(turn.running).toBe(false);
  expect(turn.error?.code).toBe("engine_died");
  expect(turn.error?.remedy).toBe("Again.");
});

test("nothing that comes after the end changes it", () => {
  const turn = turned([
    kept,
    { kind: "failed", error: died, message: null },
    { kind: "text", text: "late", tokens: 3 },
    { kind: "done", message: answer("a", "q"), context_used: 1 },
  ]);
  expect(turn.phase.kind).toBe("failed");
  expect(turn.tokens).toBe(0);
});

test("a lost engine is told, and the turn goes on", () => {
  const turn = turned([kept, { kind: "retrying", error: died }]);
  expect(turn.retrying?.code).toBe("engine_died");
  expect(turn.running).toBe(true);
});

test("counts change twice a second, however often text comes", () => {
  let now = 0;
  const turn = new Turn({ kind: "begin", text: "Go" }, () => now);
  const shown = [1, 2, 3, 4, 5, 6].map((at) => {
    now = at * 200;
    turn.hear({ kind: "text", text: "a", tokens: at * 10 });
    return turn.tokens;
  });
  expect(shown).toEqual([10, 10, 10, 40, 40, 40]);
});

test("the rate is told after half a second, from the first text on", () => {
  let now = 1000;
  const turn = turned([kept], () => now);
  now = 1100;
  turn.hear({ kind: "text", text: "a", tokens: 1 });
  expect([turn.firstMs, turn.rate]).toEqual([100, null]);
  now = 1300;
  turn.hear({ kind: "text", text: "b", tokens: 10 });
  expect(turn.rate).toBeNull();
  now = 2100;
  turn.hear({ kind: "text", text: "c", tokens: 50 });
  expect(turn.rate).toBe(50);
});

test("a loading fraction stays between nothing and all", () => {
  const turn = turned([{ kind: "loading", fraction: 1.7 }]);
  expect(turn.phase).toEqual({ kind: "loading", fraction: 1 });
});
