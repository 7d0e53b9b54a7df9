import type { Check } from "../../ipc/generated/Check";
import type { Receipt } from "../../ipc/generated/Receipt";
import { explainBriefly, explainDetail, explainReason, explainRemedy } from "../../shared/i18n/explain";
import { bytes, count, duration } from "../../shared/i18n/format";
import { t } from "../../shared/i18n/translate.svelte";

/** Checks that a snapshot must pass before it is called verified. */
const allChecks = ["integrity", "identity", "tokens", "restore", "challenge"];

/** Whether every check was made and passed. Nothing else is called verified. */
export function verified(receipt: Receipt): boolean {
  return (
    receipt.path === "restored" &&
    allChecks.every((name) => receipt.checks.some((check) => check.name === name && check.ok)) &&
    receipt.checks.every((check) => check.ok)
  );
}

/** The tone of the line: proof where it is proven, cost where time was paid. */
export function tone(receipt: Receipt): "proof" | "cost" | "none" {
  if (verified(receipt)) return "proof";
  return receipt.path === "replayed" ? "cost" : "none";
}

/** The sentence of the line, and the emphasised end of it. */
export function sentence(receipt: Receipt): { say: string; end: string | null } {
  const time = duration(receipt.ms);
  const total = { count: receipt.tokens_total, tokens: count(receipt.tokens_total), time };
  const reason = receipt.reason === null ? null : explainBriefly(receipt.reason);
  switch (receipt.path) {
    case "restored":
      return { say: t("receipt_restored", total), end: verified(receipt) ? t("receipt_verified") : reason };
    case "replayed":
      return { say: t("receipt_replayed", total), end: reason };
    case "fresh":
      return { say: t("receipt_fresh", total), end: reason };
    case "live":
      return {
        say: t("receipt_live", { tokens: count(receipt.tokens_decoded), total: total.tokens, time }),
        end: reason,
      };
  }
}

export function heading(receipt: Receipt): string {
  switch (receipt.path) {
    case "restored":
      return t(verified(receipt) ? "receipt_title_restored" : "receipt_title_unverified");
    case "replayed":
      return t("receipt_title_replayed");
    case "fresh":
      return t("receipt_title_fresh");
    case "live":
      return t("receipt_title_live");
  }
}

/** A check's name and what it compared. An unknown one is shown as it came. */
export function checkWords(check: Check): { name: string; compared: string } {
  switch (check.name) {
    case "integrity":
      return { name: t("check_integrity"), compared: t("check_integrity_help") };
    case "identity":
      return { name: t("check_identity"), compared: t("check_identity_help") };
    case "tokens":
      return { name: t("check_tokens"), compared: t("check_tokens_help") };
    case "restore":
      return { name: t("check_restore"), compared: t("check_restore_help") };
    case "challenge":
      return { name: t("check_challenge"), compared: t("check_challenge_help") };
    default:
      return { name: check.name, compared: "" };
  }
}

/** The time that was saved against reading the text, as estimated; `null` where none was, or nothing is known. */
export function savedMs(receipt: Receipt): number | null {
  if (receipt.estimated_replay_ms === null || receipt.path === "replayed" || receipt.path === "fresh")
    return null;
  const saved = receipt.estimated_replay_ms - receipt.ms;
  return saved > 0 ? saved : null;
}

/** Why it was not something cheaper, and what to do about it. */
export function why(receipt: Receipt): { reason: string; remedy: string | null } | null {
  if (receipt.reason === null) return null;
  return { reason: explainReason(receipt.reason), remedy: explainRemedy(receipt.reason) };
}

/** The whole receipt as plain text, to be pasted somewhere. */
export function asText(receipt: Receipt, when: string): string {
  const { say, end } = sentence(receipt);
  const lines = [`${say}${end === null ? "" : ` · ${end}`}`, when];
  const figure = (what: string, shown: string) => lines.push(t("receipt_figure", { what, figure: shown }));
  figure(t("receipt_to_resume"), duration(receipt.ms));
  if (receipt.estimated_replay_ms !== null)
    figure(t("receipt_replay"), duration(receipt.estimated_replay_ms));
  if (receipt.bytes_read > 0) figure(t("receipt_bytes"), bytes(receipt.bytes_read));
  for (const check of receipt.checks) {
    const passed = t(check.ok ? "receipt_passed" : "receipt_failed");
    const measured = `${passed}, ${explainDetail(check.detail)}, ${duration(check.ms)}`;
    figure(checkWords(check).name, measured);
  }
  const remedy = why(receipt)?.remedy ?? null;
  if (remedy !== null) figure(t("receipt_remedy"), remedy);
  return lines.join("\n");
}
