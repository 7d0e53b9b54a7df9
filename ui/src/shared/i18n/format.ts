// Numbers, times and sizes as people read them, in the window's language.

import { locale, t } from "./translate.svelte";

const made = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

function number(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const name = `n ${locale()} ${JSON.stringify(options)}`;
  const known = made.get(name) ?? new Intl.NumberFormat(locale(), options);
  made.set(name, known);
  return known as Intl.NumberFormat;
}

function date(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const name = `d ${locale()} ${JSON.stringify(options)}`;
  const known = made.get(name) ?? new Intl.DateTimeFormat(locale(), options);
  made.set(name, known);
  return known as Intl.DateTimeFormat;
}

const chinese = () => locale() === "zh-CN";

/** 4,096 */
export const count = (value: number) => number({ maximumFractionDigits: 0 }).format(value);

/** 61.7 */
export const rate = (value: number) =>
  number({ minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value);

/** 63 % */
export const percent = (fraction: number) => `${count(Math.floor(fraction * 100))} %`;

/** 12, 940, 4.5k. Sizes of contexts are multiples of 1,024 and are named by them: 8k. */
export function short(value: number): string {
  if (value < 1000) return count(value);
  if (value % 1024 === 0) return `${count(value / 1024)}k`;
  const thousands = value / 1000;
  return `${number({ maximumFractionDigits: thousands < 100 ? 1 : 0 }).format(thousands)}k`;
}

/** 83 ms, 18.6 s, 2:05. Below one millisecond: 0.4 ms. */
export function duration(ms: number): string {
  if (ms < 999.5) {
    const value = number({ maximumFractionDigits: ms < 10 ? 1 : 0 }).format(ms);
    return chinese() ? `${value} 毫秒` : `${value} ms`;
  }
  const seconds = ms / 1000;
  if (seconds < 59.95) return chinese() ? `${rate(seconds)} 秒` : `${rate(seconds)} s`;
  const whole = Math.round(seconds);
  return `${count(Math.floor(whole / 60))}:${String(whole % 60).padStart(2, "0")}`;
}

/** What is left, without a precision that nobody has: 7 s, 2:05. */
export function about(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds >= 60) return duration(seconds * 1000);
  return chinese() ? `${count(seconds)} 秒` : `${count(seconds)} s`;
}

/** Decimal sizes: 98 MB, 4.9 GB. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${number({ maximumFractionDigits: size < 10 && unit > 0 ? 1 : 0 }).format(size)} ${units[unit] ?? ""}`;
}

/** 14:31 */
export const time = (at: number) => date({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(at);

/** 14:31:07 */
export const timeExact = (at: number) =>
  date({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(at);

/** November 2026 */
export const month = (at: number) => date({ year: "numeric", month: "long" }).format(at);

/** Whole days from `at` to `now`, by the calendar. */
export function daysAgo(at: number, now: number): number {
  const midnight = (when: number) => new Date(when).setHours(0, 0, 0, 0);
  return Math.round((midnight(now) - midnight(at)) / 86_400_000);
}

/** 14:31 today, else the weekday, else the day: for the edge of a line. */
export function briefly(at: number, now: number): string {
  const days = daysAgo(at, now);
  if (days <= 0) return time(at);
  if (days < 7) return date({ weekday: "short" }).format(at);
  return new Date(at).getFullYear() === new Date(now).getFullYear()
    ? date({ day: "numeric", month: "short" }).format(at)
    : date({ day: "numeric", month: "short", year: "numeric" }).format(at);
}

/** Today 14:31, Yesterday 09:12, 3 Nov 2026, 10:00 */
export function moment(at: number, now: number): string {
  const days = daysAgo(at, now);
  if (days === 0) return t("today_at", { time: timeExact(at) });
  if (days === 1) return t("yesterday_at", { time: timeExact(at) });
  return date({ dateStyle: "medium", timeStyle: "short" }).format(at);
}

/** Today, Yesterday, Thursday, 3 Nov, 3 Nov 2026: the day of something. */
export function day(at: number, now: number): string {
  const days = daysAgo(at, now);
  if (days <= 0) return t("today");
  if (days === 1) return t("yesterday");
  return days < 7 ? date({ weekday: "long" }).format(at) : briefly(at, now);
}

/** 12 minutes, 3 hours, 11 days: how long ago something was. */
export function age(at: number, now: number): string {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 1) return t("age_now");
  if (minutes < 60) return t("age_minutes", { count: minutes });
  if (minutes < 48 * 60) return t("age_hours", { count: Math.floor(minutes / 60) });
  return t("age_days", { count: Math.floor(minutes / (24 * 60)) });
}

/** What a size is made of: 14.6 and GB. Three figures, where `bytes` has two; `even` ones also where they are 0. */
export function measured(value: number, even = false): { figure: string; unit: string } {
  // Nothing of a disk is still counted in what a disk is counted in.
  if (value === 0) return { figure: count(0), unit: "GB" };
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const figures = { maximumSignificantDigits: 3, minimumSignificantDigits: even && unit > 0 ? 3 : 1 };
  return { figure: number(figures).format(size), unit: units[unit] ?? "" };
}

/** 1.05 GB, 14.6 GB, 212 GB: for sizes that stand beside each other. */
export function size(value: number, even = false): string {
  const { figure, unit } = measured(value, even);
  return `${figure} ${unit}`;
}

/** 20, 2.5: gigabytes on a scale. */
export const gigabytes = (value: number) => number({ maximumFractionDigits: 2 }).format(value / 1e9);
