import { afterEach, expect, test } from "vitest";
import { conversationRow, receipt, receipts } from "../ipc/fake/library";
import { setLocale } from "../shared/i18n/translate.svelte";
import { titled } from "../shared/titled";
import { sends } from "./composer/keys";
import { asText, heading, sentence, tone, verified } from "./conversation/receiptWords";
import { contextSize, temperature } from "./settings/numbers";
import { byDate } from "./sidebar/groups";

afterEach(() => setLocale("en"));

const said = (given: Parameters<typeof sentence>[0]) => {
  const { say, end } = sentence(given);
  return end === null ? say : `${say} · ${end}`;
};

test("receipts say the words of the table", () => {
  expect(said(receipts.restored)).toBe("Resumed 4,096 tokens in 83 ms · verified");
  expect(said({ ...receipts.modelChanged, tokens_total: 4096, ms: 18_600 })).toBe(
    "Replayed 4,096 tokens in 18.6 s · the model file changed since this snapshot",
  );
  expect(said(receipt("fresh", 214, { ms: 1000 }))).toBe("Started from the text, 214 tokens in 1.0 s");
  expect(said(receipt("live", 4127, { ms: 120 }))).toBe(
    "Went on from memory, 31 new of 4,127 tokens in 120 ms",
  );
  setLocale("zh-CN");
  expect(said(receipts.restored)).toBe("已恢复 4,096 个词元，用时 83 毫秒 · 已验证");
  expect(said({ ...receipts.modelChanged, tokens_total: 4096, ms: 18_600 })).toBe(
    "已重放 4,096 个词元，用时 18.6 秒 · 此快照之后模型文件已更改",
  );
});

test("nothing is called verified before all five checks passed", () => {
  expect([verified(receipts.restored), tone(receipts.restored)]).toEqual([true, "proof"]);
  const four = { ...receipts.restored, checks: receipts.restored.checks.slice(0, 4) };
  const failed = {
    ...receipts.restored,
    checks: receipts.restored.checks.map((check) => ({ ...check, ok: check.name !== "challenge" })),
  };
  for (const one of [four, failed, receipt("live", 9), receipt("fresh", 9)]) {
    expect([verified(one), tone(one)]).toEqual([false, "none"]);
    expect(said(one)).not.toContain("verified");
    expect(heading(one)).not.toContain("verified");
  }
  expect(tone(receipts.damaged)).toBe("cost");
  expect(asText(receipts.damaged, "today")).toContain("Integrity: failed");
});

test("Enter sends as it is set, and never while an input method composes", () => {
  const press = (more: KeyboardEventInit & { keyCode?: number }) =>
    new KeyboardEvent("keydown", { key: "Enter", ...more });
  expect(sends(press({}), "enter")).toBe(true);
  expect(sends(press({ shiftKey: true }), "enter")).toBe(false);
  expect(sends(press({}), "ctrl_enter")).toBe(false);
  expect(sends(press({ ctrlKey: true }), "ctrl_enter")).toBe(true);
  expect(sends(press({ isComposing: true }), "enter")).toBe(false);
  expect(sends(press({ keyCode: 229 }), "enter")).toBe(false);
});

test("conversations stand under their day, then under their month", () => {
  const now = new Date(2026, 10, 23, 15).getTime();
  const rows = [0, 1, 3, 20, 40, 41, 400].map((days, at) => ({
    ...conversationRow(at, now, false),
    updated: now - days * 86_400_000,
  }));
  const words = {
    today: "Today",
    yesterday: "Yesterday",
    last7Days: "7",
    last30Days: "30",
    month: (when: number) => new Date(when).toISOString().slice(0, 7),
  };
  const lines = byDate(rows, now, words).map((line) => (line.kind === "heading" ? line.label : line.at));
  expect(lines).toEqual(["Today", 0, "Yesterday", 1, "7", 2, "30", 3, "2026-10", 4, 5, "2025-10", 6]);
});

test("a title is one line of a length that a line can hold", () => {
  expect(titled("  two\nlines\u0007 ")).toBe("two lines");
  expect(titled("x".repeat(10_000)).length).toBe(501);
  expect(titled("<b>bold</b>")).toBe("<b>bold</b>");
});

test("numbers of the settings are taken, left to the default, or refused", () => {
  expect(["", "0.7", "0,7", "3", "warm"].map(temperature)).toEqual([null, 0.7, 0.7, undefined, undefined]);
  expect(["", "8192", "8,192", "100", "1.5e3x"].map(contextSize)).toEqual([
    null,
    8192,
    8192,
    undefined,
    undefined,
  ]);
});
