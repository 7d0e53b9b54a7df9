import { afterEach, expect, test } from "vitest";
import { age, day, gigabytes as onScale, measured, size } from "../../shared/i18n/format";
import { setLocale } from "../../shared/i18n/translate.svelte";
import { gigabytes } from "./numbers";
import { quarantineWords } from "./quarantine";
import { ceiling, ticks } from "./scale";
import { inPage, ROWS } from "./windowing";

afterEach(() => setLocale("en"));

const GB = 1e9;

test("a limit is read as people write it, or refused", () => {
  const read = ["20", "1.5", "1,5", "1,000", "2 000", "5 GB", "0", "0.05"].map(gigabytes);
  expect(read).toEqual([20, 1.5, 1.5, 1000, 2000, 5, 0, 0.05].map((value) => Math.round(value * GB)));
  expect(["", "-1", "lots", "1e99", "NaN"].map(gigabytes)).toEqual(Array(5).fill(undefined));
});

test("the scale holds what it must, in quarters that people can read", () => {
  expect(ceiling(40 * GB, 14.6 * GB, 20 * GB)).toBe(40 * GB);
  expect(ceiling(40 * GB, 55 * GB)).toBe(60 * GB);
  expect(ceiling(0, 0)).toBe(0.1 * GB);
  expect(ticks(40 * GB, 20 * GB).map(onScale)).toEqual(["0", "10", "30", "40"]);
  expect(ticks(40 * GB, 0).map(onScale)).toEqual(["10", "20", "30", "40"]);
});

test("of long lists only what is in sight is in the page, and what has the focus", () => {
  expect(inPage(0, 400, 36, ROWS, []).length).toBe(ROWS);
  expect(inPage(0, 0, 0, 10_000, []).length).toBeLessThan(20);
  const seen = inPage(36 * 500, 360, 36, 10_000, [3, 9_999, 505, -1]);
  expect([seen[0], seen[1], seen.at(-1)]).toEqual([3, 492, 9_999]);
  expect(seen.length).toBe(2 + 10 + 16);
  expect(new Set(seen).size).toBe(seen.length);
  // A list that became shorter under the view.
  expect(inPage(36 * 5000, 360, 36, 60, [59])).toEqual([59]);
});

test("why a snapshot is not used is told in the window's language", () => {
  const why = "challenge: the restored state did not answer: as it did";
  expect(quarantineWords(why)).toBe("the restored state did not answer: as it did");
  expect(quarantineWords("Something else: entirely")).toBe("Something else: entirely");
  setLocale("zh-CN");
  expect(quarantineWords(why)).toBe("快照未通过质询，已停用");
});

test("sizes and ages as a table shows them", () => {
  expect([0, 999, 1_050_000_000, 14_600_000_000, 212e9].map((bytes) => size(bytes))).toEqual([
    "0 GB",
    "999 B",
    "1.05 GB",
    "14.6 GB",
    "212 GB",
  ]);
  expect([size(1_100_000_000, true), size(590_000_000, true)]).toEqual(["1.10 GB", "590 MB"]);
  expect(measured(20 * GB)).toEqual({ figure: "20", unit: "GB" });
  const now = new Date(2026, 10, 19, 15).getTime();
  const ages = [30_000, 12 * 60_000, 3 * 3_600_000, 47 * 3_600_000, 11 * 86_400_000];
  expect(ages.map((ago) => age(now - ago, now))).toEqual([
    "Just now",
    "12 minutes",
    "3 hours",
    "47 hours",
    "11 days",
  ]);
  expect([0, 1, 3].map((days) => day(now - days * 86_400_000, now))).toEqual([
    "Today",
    "Yesterday",
    "Monday",
  ]);
  setLocale("zh-CN");
  expect(age(now - 11 * 86_400_000, now)).toBe("11 天");
});
