import { parse, TYPE, type MessageFormatElement } from "@formatjs/icu-messageformat-parser";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { en } from "./en";
import { explain, explainBriefly, explainDetail, explainNotice, explainReason } from "./explain";
import { faults, reasons } from "./faults.zh-CN";
import type { Key } from "./keys";
import { remediesIn } from "./remedies";
import { pickLocale, setLocale, t } from "./translate.svelte";
import { zhCN } from "./zh-CN";

afterEach(() => setLocale("en"));

const ui = join(import.meta.dirname, "../../..");

function files(folder: string, ending: RegExp): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => ending.test(name))
    .map((name) => join(folder, name));
}

function names(elements: MessageFormatElement[], into = new Set<string>()): Set<string> {
  for (const element of elements) {
    if ("value" in element && element.type !== TYPE.literal) into.add(element.value);
    if (element.type === TYPE.plural || element.type === TYPE.select) {
      for (const option of Object.values(element.options)) names(option.value, into);
    }
  }
  return into;
}

const keys = Object.keys(en) as Key[];

test("both languages have the same messages", () => {
  expect(Object.keys(zhCN).sort()).toEqual([...keys].sort());
  for (const key of keys) expect(zhCN[key], key).not.toBe("");
});

test("both languages use the same arguments in every message", () => {
  for (const key of keys) {
    const english = [...names(parse(en[key], { ignoreTag: true }))].sort();
    const chinese = [...names(parse(zhCN[key], { ignoreTag: true }))].sort();
    // A plural that Chinese does not have may be left out; nothing else may.
    const missing = english.filter(
      (name) => !chinese.includes(name) && !(name === "count" && english.length > 1),
    );
    expect([key, missing, chinese.filter((name) => !english.includes(name))]).toEqual([key, [], []]);
  }
});

test("every message is used somewhere", () => {
  const sources = files(join(ui, "src"), /\.(svelte|ts)$/)
    .filter((file) => !file.includes("i18n/en.ts") && !file.includes("i18n/zh-CN.ts"))
    .map((file) => readFileSync(file, "utf8"))
    .join("\n");
  expect(keys.filter((key) => !sources.includes(`"${key}"`))).toEqual([]);
});

test("Chinese uses full-width punctuation and a gap beside figures and Latin", () => {
  for (const key of keys) {
    const text = zhCN[key].replace(/\{[^{}]*\}/gu, "");
    expect(text, key).not.toMatch(/\p{Script=Han}[,;:?!()]/u);
    expect(text, key).not.toMatch(/\p{Script=Han}[A-Za-z0-9]|[A-Za-z0-9]\p{Script=Han}/u);
  }
});

test("every code that the app can send has Chinese words", () => {
  const codes = new Set<string>();
  for (const crate of ["chat", "engine", "store"]) {
    for (const file of files(join(ui, "../src-tauri/crates", crate, "src"), /\.rs$/)) {
      const source = readFileSync(file, "utf8");
      for (const [body] of source.matchAll(/fn code\(&self\) -> &'static str \{[\s\S]*?\n {4}\}/gu)) {
        for (const [, code] of body.matchAll(/=> "([a-z_]+)"/gu)) codes.add(code ?? "");
      }
    }
  }
  const told = join(ui, "../src-tauri/crates/chat/src/not_saved.rs");
  for (const file of [...files(join(ui, "../src-tauri/src"), /\.rs$/), told]) {
    for (const [, code] of readFileSync(file, "utf8").matchAll(/code: "([a-z_]+)"/gu)) codes.add(code ?? "");
  }
  // Fewer would mean that the sources are no longer read as they are written.
  expect(codes.size).toBeGreaterThan(25);
  expect([...codes].filter((code) => faults[code] === undefined)).toEqual([]);
});

test("every reason of a receipt has Chinese words", () => {
  const codes = new Set<string>();
  for (const file of files(join(ui, "../src-tauri/crates/chat/src"), /\.rs$/)) {
    const source = readFileSync(file, "utf8");
    for (const [, code] of source.matchAll(/\b(?:reason|without)\(\s*"([a-z_]+)"/gu)) codes.add(code ?? "");
  }
  const words = readFileSync(join(ui, "../src-tauri/crates/chat/src/identity.rs"), "utf8");
  const body = /fn in_words[\s\S]*?\n\}/u.exec(words)?.[0] ?? "";
  for (const [, field] of body.matchAll(/\(\s*"([a-z_]+)",/gu)) codes.add(`identity.${field ?? ""}`);
  // Fewer would mean that the sources are no longer read as they are written.
  expect(codes.size).toBeGreaterThan(18);
  expect([...codes].filter((code) => reasons[code] === undefined)).toEqual([]);
});

test("every reason of a receipt has a remedy in both languages", () => {
  for (const language of ["en", "zh-CN"] as const) {
    const remedies = remediesIn(language);
    expect(Object.keys(remedies).sort(), language).toEqual(Object.keys(reasons).sort());
    for (const [code, text] of Object.entries(remedies)) expect(text, code).toMatch(/[.。]$/u);
  }
  for (const [code, text] of Object.entries(remediesIn("zh-CN"))) {
    expect(text, code).not.toMatch(/\p{Script=Han}[,;:?!()]/u);
    expect(text, code).not.toMatch(/\p{Script=Han}[A-Za-z0-9]|[A-Za-z0-9]\p{Script=Han}/u);
  }
});

/** Measured values as the checks of the app word them. */
const measured = [
  "the seal is whole",
  "all the same",
  "12 of 12 pieces",
  "12 of 12 pieces, read while the model was loaded",
  "model differs",
  "4096 of 4096 tokens",
  "94371840 bytes, positions 0 to 4095",
  "every bit of every logit is equal",
  "every bit of every logit is equal (computed with other threads than at saving)",
  "the logits differ (distance 0.4127; equality is demanded here)",
  "it was computed with other threads, and the logits differ (distance 0.0123): nothing tells such a difference from a fault",
  "its answers are too close to those of a model that remembers nothing (0.123) to prove anything",
  "it was asked other questions when it was saved",
  "piece 3 of 12 is not what was saved",
  "piece 3 of 12 has 4096 bytes instead of 262144",
  "the snapshot is not what was saved",
  "the snapshot's description cannot be read: EOF",
  "llama.cpp refused the state",
  "it holds positions 0 to 4000, not 0 to 4095",
  "it would be exported in 1000 bytes and was imported in 94371840",
];

test("what a check measured is told in the window's language", () => {
  expect(explainDetail("94371840 bytes, positions 0 to 4095")).toBe("94,371,840 bytes, positions 0 to 4,095");
  expect(explainDetail("the logits differ (distance 0.4127; equality is demanded here)")).toContain("0.4127");
  expect(explainDetail("9f3a7123…c21e")).toBe("9f3a7123…c21e");
  setLocale("zh-CN");
  for (const detail of measured) expect(explainDetail(detail), detail).toMatch(/\p{Script=Han}/u);
  expect(explainDetail("4096 of 4096 tokens")).toBe("4,096 / 4,096 个词元");
  expect(explainDetail("something new")).toBe("something new");
});

test("every measured value of the app is among those that are told in Chinese", () => {
  const chat = join(ui, "../src-tauri/crates/chat/src");
  const said = ["resume.rs", "challenge.rs"]
    .map((file) => readFileSync(join(chat, file), "utf8").split("mod tests")[0])
    .join("\n");
  const literals = [
    ...said.matchAll(/check\(\s*"[a-z]+",\s*(?:true|false),\s*\w+,\s*(?:format!\()?"([^"]+)"/gu),
    ...said.matchAll(/(?:detail = |detail: |failed\()\s*(?:format!\()?\s*"([^"]+)"/gu),
  ].map(([, text]) => (text ?? "").split(/[{(]/u)[0]?.trim() ?? "");
  // Fewer would mean that the sources are no longer read as they are written.
  expect(literals.length).toBeGreaterThan(6);
  const unknown = literals.filter((text) => !measured.some((known) => known.includes(text)));
  expect(unknown).toEqual([]);
});

test("a reason in a line is said without its measure", () => {
  const reason = { code: "integrity", message: "the snapshot was damaged: piece 3 of 12", field: null };
  expect(explainBriefly(reason)).toBe("the snapshot was damaged");
});

test("an error is told in the window's language, with the app's own sentence for what it names", () => {
  const error = { code: "disk_full", message: "The disk is full.", remedy: "Free some space." };
  expect(explain(error)).toEqual({ message: error.message, remedy: error.remedy, detail: null });
  setLocale("zh-CN");
  expect(explain(error)).toMatchObject({
    message: expect.stringContaining("磁盘已满"),
    detail: error.message,
  });
  const unknown = { ...error, code: "never_heard_of" };
  expect(explain(unknown).message).toBe(error.message);
  expect(explainNotice({ code: "engine_died", message: "It died." })).toContain("引擎已停止");
  expect(explainNotice({ code: null, message: "Long ago." })).toBe("Long ago.");
  expect(explainReason({ code: "integrity", message: "…", field: null })).toBe("快照已损坏，已丢弃");
});

test("counts take the form that their language has", () => {
  expect(t("toast_deleted", { count: 1 })).toBe("1 conversation deleted");
  expect(t("toast_deleted", { count: 3 })).toBe("3 conversations deleted");
  expect(t("tokens", { count: 1, shown: "1" })).toBe("1 token");
  setLocale("zh-CN");
  expect(t("toast_deleted", { count: 3 })).toBe("已删除 3 个对话");
});

test("the language is the first that the person prefers and the window knows", () => {
  expect(pickLocale(["fr-FR", "zh-Hans-CN", "en"])).toBe("zh-CN");
  expect(pickLocale(["en-GB", "zh"])).toBe("en");
  expect(pickLocale(["fr"])).toBe("en");
});
