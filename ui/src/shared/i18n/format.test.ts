import { afterEach, expect, test } from "vitest";
import { about, bytes, count, daysAgo, duration, percent, short } from "./format";
import { setLocale } from "./translate.svelte";

afterEach(() => setLocale("en"));

test("under a second milliseconds, then one decimal, then minutes", () => {
  expect([0.4, 83, 999, 1000, 18_600, 59_940, 60_000, 125_000].map(duration)).toEqual([
    "0.4 ms",
    "83 ms",
    "999 ms",
    "1.0 s",
    "18.6 s",
    "59.9 s",
    "1:00",
    "2:05",
  ]);
  setLocale("zh-CN");
  expect([83, 18_600].map(duration)).toEqual(["83 毫秒", "18.6 秒"]);
});

test("sizes are decimal, contexts are named by 1,024s, estimates are round", () => {
  expect([98_000_000, 4_920_000_000, 512].map(bytes)).toEqual(["98 MB", "4.9 GB", "512 B"]);
  expect([12, 940, 4507, 8192, 131_072].map(short)).toEqual(["12", "940", "4.5k", "8k", "128k"]);
  expect([count(4096), percent(0.999), about(7200), about(200)]).toEqual(["4,096", "99 %", "7 s", "1 s"]);
});

test("days are counted by the calendar, not by hours", () => {
  const late = new Date(2026, 2, 10, 23, 59).getTime();
  const early = new Date(2026, 2, 11, 0, 1).getTime();
  expect([daysAgo(late, early), daysAgo(late, late)]).toEqual([1, 0]);
});
