import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AppError, asAppError } from "../ipc/error";
import { Fake } from "../ipc/fake/fake";
import { Banner } from "./banner.svelte";
import { Search } from "./search.svelte";
import { Settings } from "./settings.svelte";
import { Spoken } from "./spoken.svelte";
import { Toast } from "./toast.svelte";
import { TokenCount } from "./tokenCount.svelte";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const error = (code: string) => new AppError({ code, message: code, remedy: "" });

test("one banner at a time: failures first, the others wait", () => {
  const banner = new Banner();
  banner.tell({ kind: "error", error: error("a") });
  banner.tell({ kind: "interrupted", answers: 2 });
  expect(banner.shown).toMatchObject({ kind: "error" });
  banner.tell({ kind: "error", error: error("b") });
  expect(banner.shown).toMatchObject({ error: { code: "b" } });
  banner.tell({ kind: "error", error: error("b") });
  for (const expected of ["b", "a"]) {
    expect(banner.shown).toMatchObject({ error: { code: expected } });
    if (banner.shown) banner.dismiss(banner.shown);
  }
  expect(banner.shown).toEqual({ kind: "interrupted", answers: 2 });
});

test("the undo stays ten seconds, and time stands still under the pointer", () => {
  const toast = new Toast();
  toast.show({ kind: "deleted", count: 1, undo: () => undefined });
  vi.advanceTimersByTime(8000);
  toast.hold(true);
  vi.advanceTimersByTime(60_000);
  expect(toast.left).toBe(2);
  toast.hold(false);
  vi.advanceTimersByTime(2000);
  expect(toast.shown).toBeNull();
});

test("an answer to an older search is not shown", async () => {
  const fake = new Fake({ conversations: 5 });
  const answers: (() => void)[] = [];
  vi.spyOn(fake, "search").mockImplementation(
    (query) =>
      new Promise((resolve) =>
        answers.push(() =>
          resolve({ ms: 1, hits: [{ conversation: query, message: null, title: query, snippet: [] }] }),
        ),
      ),
  );
  const search = new Search(fake);
  search.type("first");
  await vi.advanceTimersByTimeAsync(200);
  search.type("second");
  await vi.advanceTimersByTimeAsync(200);
  answers[1]?.();
  await vi.advanceTimersByTimeAsync(0);
  answers[0]?.();
  await vi.advanceTimersByTimeAsync(0);
  expect(search.hits.map((hit) => hit.title)).toEqual(["second"]);
});

test("hits stand under their conversation, the one with the best hit first", async () => {
  const search = new Search(new Fake({ conversations: 3 }));
  search.type("octave");
  await vi.advanceTimersByTimeAsync(200);
  expect(search.found.map((found) => [found.conversation, found.hits.length])).toEqual([
    ["c0", 2],
    ["c1", 2],
    ["c2", 2],
  ]);
  expect(search.messages).toBe(6);
});

test("a count that is overtaken by typing is dropped, and one that fails is an estimate", async () => {
  const fake = new Fake();
  const tokens = new TokenCount(fake);
  tokens.count("a".repeat(400));
  tokens.count("a".repeat(40));
  await vi.advanceTimersByTimeAsync(400);
  expect(tokens.counted).toEqual({ tokens: 10, exact: true });
  expect(fake.calls.length).toBe(1);
  fake.play.failing = { count_tokens: { code: "engine_died", message: "", remedy: "" } };
  tokens.count("a".repeat(80));
  await vi.advanceTimersByTimeAsync(400);
  expect(tokens.counted).toEqual({ tokens: 20, exact: false });
});

test("settings show at once and are saved once", async () => {
  const fake = new Fake();
  const settings = new Settings(fake, () => undefined);
  settings.change({ theme: "dark" });
  settings.change({ scale: 150 });
  expect(settings.now.theme).toBe("dark");
  await vi.advanceTimersByTimeAsync(400);
  expect(fake.calls).toMatchObject([{ command: "save_settings", given: [{ theme: "dark", scale: 150 }] }]);
});

test("a reader hears whole sentences, no code and no marks", () => {
  const spoken = new Spoken();
  for (const piece of [
    "The **first** ",
    "one. The sec",
    "ond one! ",
    "```rust\nlet x = 1. + 2.;\n```\n",
    "三天两晚。好",
    "的",
  ]) {
    spoken.hear(piece);
  }
  spoken.end();
  expect(spoken.lines.map((line) => line.text)).toEqual([
    "The first one.",
    "The second one!",
    "三天两晚。",
    "好的",
  ]);
});

test("whatever a promise is rejected with becomes an AppError", () => {
  expect(asAppError({ code: "disk_full", message: "Full.", remedy: "Free." })).toMatchObject({
    code: "disk_full",
  });
  expect(asAppError("command start not allowed")).toMatchObject({ code: "internal" });
  expect(asAppError("command start not allowed").message).toContain("command start not allowed");
  expect(asAppError(new Error("boom"))).toBeInstanceOf(AppError);
  const known = error("x");
  expect(asAppError(known)).toBe(known);
});
