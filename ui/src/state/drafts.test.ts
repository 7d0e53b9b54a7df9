import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Fake } from "../ipc/fake/fake";
import { draftPause, Drafts } from "./drafts.svelte";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function drafts() {
  const fake = new Fake();
  const failures: unknown[] = [];
  return { fake, failures, drafts: new Drafts(fake, (reason) => failures.push(reason)) };
}

test("typing is saved once, after a pause", () => {
  const { fake, drafts: kept } = drafts();
  kept.write("c1", "H");
  vi.advanceTimersByTime(300);
  kept.write("c1", "Hello");
  vi.advanceTimersByTime(300);
  expect(fake.drafts.size).toBe(0);
  vi.advanceTimersByTime(200);
  expect(fake.drafts.get("c1")).toBe("Hello");
  expect(fake.calls.length).toBe(1);
});

test("leaving saves at once what is not saved, each draft to its conversation", () => {
  const { fake, drafts: kept } = drafts();
  kept.write("c1", "one");
  kept.write(null, "new");
  kept.flush();
  expect([...fake.drafts]).toEqual([
    ["c1", "one"],
    [null, "new"],
  ]);
  vi.runAllTimers();
  expect(fake.calls.length).toBe(2);
});

test("what the app kept does not overwrite what was typed since", () => {
  const { drafts: kept } = drafts();
  kept.write("c1", "typed");
  kept.known("c1", "kept");
  kept.known("c2", "kept");
  expect([kept.of("c1"), kept.of("c2")]).toEqual(["typed", "kept"]);
});

test("a text that is being sent is out of the composer, and the saved draft goes when it is kept", () => {
  const { fake, drafts: kept } = drafts();
  kept.write("c1", "question");
  kept.flush();
  expect(kept.take("c1")).toBe("question");
  vi.runAllTimers();
  expect([kept.of("c1"), fake.drafts.get("c1")]).toEqual(["", "question"]);
  kept.sent("c1");
  expect(fake.drafts.get("c1")).toBe("");
});

test("a text that could not be sent comes back before what was typed since", () => {
  const { drafts: kept } = drafts();
  kept.write("c1", "question");
  const text = kept.take("c1");
  kept.write("c1", "since");
  kept.putBack("c1", text);
  expect(kept.of("c1")).toBe("question\nsince");
});

test("a draft that cannot be saved is reported", async () => {
  const { fake, failures, drafts: kept } = drafts();
  fake.play.failing = { save_draft: { code: "disk_full", message: "Full.", remedy: "Free some." } };
  kept.write("c1", "x");
  kept.flush();
  await vi.runAllTimersAsync();
  expect(failures).toMatchObject([{ code: "disk_full" }]);
});

test("the pause grows with the text and has an end", () => {
  expect(draftPause(10)).toBeLessThan(500);
  expect(draftPause(1_000_000)).toBeGreaterThan(2000);
  expect(draftPause(1e9)).toBe(3000);
});
