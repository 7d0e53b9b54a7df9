// Errors arrive in English, from the app. Here they get the window's language.

import { detailInChinese } from "./details.zh-CN";
import { faults, reasons } from "./faults.zh-CN";
import { count } from "./format";
import { remedyFor } from "./remedies";
import { locale } from "./translate.svelte";

/** An error in words. */
export interface Explained {
  /** What happened, and what is safe. */
  message: string;
  /** What to do next. */
  remedy: string;
  /** The app's own sentence, where the translation leaves out what it names: a file, a number. */
  detail: string | null;
}

export function explain(error: { code: string; message: string; remedy: string }): Explained {
  const known = locale() === "zh-CN" ? faults[error.code] : undefined;
  if (known === undefined) return { message: error.message, remedy: error.remedy, detail: null };
  return { ...known, detail: error.message };
}

/** What is to be said about how a message came to be. */
export function explainNotice(notice: { code: string | null; message: string }): string {
  const known = locale() === "zh-CN" && notice.code !== null ? faults[notice.code] : undefined;
  return known?.message ?? notice.message;
}

/** Why a conversation was replayed. */
export function explainReason(reason: { code: string; message: string; field: string | null }): string {
  if (locale() !== "zh-CN") return reason.message;
  const exact = reason.field === null ? undefined : reasons[`${reason.code}.${reason.field}`];
  return exact ?? reasons[reason.code] ?? reason.message;
}

/** The same, short enough for a line: without what was measured. */
export function explainBriefly(reason: { code: string; message: string; field: string | null }): string {
  const said = explainReason(reason);
  return said.split(": ")[0] ?? said;
}

/** What to do about the reason of a receipt, where something is known. */
export function explainRemedy(reason: { code: string; field: string | null }): string | null {
  return remedyFor(reason, locale());
}

/** What a check measured. Long numbers are grouped; in Chinese, what follows a known form is translated. */
export function explainDetail(detail: string): string {
  const grouped = detail.replace(/(?<![\w.])\d{4,}(?![\w.])/gu, (digits) => count(Number(digits)));
  return locale() === "zh-CN" ? (detailInChinese(grouped) ?? grouped) : grouped;
}
