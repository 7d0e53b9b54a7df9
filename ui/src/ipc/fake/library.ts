// The fake's conversations: many, of all kinds, the same at each start.

import type { ConversationRow } from "../generated/ConversationRow";
import type { ConversationView } from "../generated/ConversationView";
import type { MessageView } from "../generated/MessageView";
import type { Receipt } from "../generated/Receipt";
import type { Timing } from "../generated/Timing";
import { answers, chineseAnswers, chineseQuestions, oddTitles, questions, titles } from "./texts";

const day = 86_400_000;

/** Rough length in tokens. */
export const tokensOf = (text: string) => Math.max(1, Math.ceil(text.length / 4));

export function timing(tokens: number, first = 94): Timing {
  return {
    load_ms: null,
    resume_ms: 83,
    ttft_ms: first,
    prefill_tokens: 31,
    prefill_tok_s: 412.5,
    decode_tokens: tokens,
    decode_tok_s: 61.7,
  };
}

export function receipt(path: Receipt["path"], total: number, more: Partial<Receipt> = {}): Receipt {
  const reused = path === "live" ? Math.max(0, total - 31) : path === "restored" ? total : 0;
  return {
    path,
    reason: null,
    tokens_total: total,
    tokens_reused: reused,
    tokens_decoded: total - reused,
    bytes_read: 0,
    ms: path === "live" ? 120 : total * 4.5,
    ms_bytes: null,
    ms_challenge: null,
    estimated_replay_ms: null,
    checks: [],
    ...more,
  };
}

const checks = [
  { name: "integrity", ok: true, ms: 31, detail: "9f3a71…c21e" },
  { name: "identity", ok: true, ms: 0.4, detail: "14 of 14 equal" },
  { name: "tokens", ok: true, ms: 0.6, detail: "4,096 / 4,096" },
  { name: "restore", ok: true, ms: 38, detail: "4,096 cells" },
  { name: "challenge", ok: true, ms: 13, detail: "max Δ 0.000" },
];

/** One of each kind of receipt. */
export const receipts = {
  restored: receipt("restored", 4096, {
    ms: 83,
    ms_bytes: 70,
    ms_challenge: 13,
    bytes_read: 537_000_000,
    estimated_replay_ms: 18_600,
    checks,
  }),
  modelChanged: receipt("replayed", 3072, {
    ms: 13_900,
    reason: { code: "identity", message: "the model file changed since this snapshot", field: "model" },
    checks: checks.slice(0, 2).map((check, index) => ({ ...check, ok: index === 0 })),
  }),
  damaged: receipt("replayed", 2390, {
    ms: 10_900,
    reason: { code: "integrity", message: "the snapshot was damaged and has been discarded", field: null },
    checks: checks.slice(0, 1).map((check) => ({ ...check, ok: false })),
  }),
};

export interface Chatted {
  row: ConversationRow;
  view: ConversationView;
  /** All messages of all branches, by id. */
  all: Map<string, MessageView>;
}

/** Conversation number `index`, made when it is opened and not before. */
export function conversationRow(index: number, now: number, odd: boolean): ConversationRow {
  const oddTitle = odd ? oddTitles[index - 2] : undefined;
  const title = oddTitle ?? titles[index % titles.length] ?? "";
  const ages = [0.01, 0.02, 0.1, 1, 1.1, 1.3, 3, 4, 5, 6];
  const age = ages[index] ?? 7 + (index - 10) * 0.9;
  return {
    id: `c${index}`,
    title: index < titles.length || oddTitle !== undefined ? title : `${title} ${index}`,
    updated: now - age * day,
    messages: 6,
    model: index % 3 === 0 ? "SmolLM2 135M Instruct · Q4_1" : "Llama 3.1 8B Instruct · Q4_K_M",
  };
}

export interface Shape {
  messages: number;
  /** Whether the conversation shows every state that a message can be in. */
  states: boolean;
}

/** The conversation behind a row. */
export function converse(row: ConversationRow, { messages, states }: Shape): Chatted {
  const chinese = row.title.includes("京都");
  const asks = chinese ? chineseQuestions : questions;
  const says = chinese ? chineseAnswers : answers;
  const all = new Map<string, MessageView>();
  const shown: MessageView[] = [];
  let total = 0;
  for (let index = 0; index < messages; index += 1) {
    const user = index % 2 === 0;
    const turn = Math.floor(index / 2);
    const text = (user ? asks : says)[turn % (user ? asks : says).length] ?? "";
    total += tokensOf(text);
    const message: MessageView = {
      id: `${row.id}.m${index}`,
      parent: shown.at(-1)?.id ?? null,
      speaker: user ? "user" : "assistant",
      text,
      state: "complete",
      stop: user ? null : "end",
      notice: null,
      damaged: false,
      created: row.updated - (messages - index) * 60_000,
      versions: [`${row.id}.m${index}`],
      receipt: user ? null : turn === 0 ? receipt("fresh", total) : receipt("live", total),
      resumes: [],
      resumes_before: 0,
      timing: user ? null : timing(tokensOf(text)),
      model: user ? null : row.model,
    };
    shown.push(message);
    all.set(message.id, message);
  }
  if (states) showStates(shown, all);
  return {
    row,
    view: {
      id: row.id,
      title: row.title,
      model: row.model,
      system: null,
      messages: shown,
      draft: "",
      choices: { always_replay: false, always_cpu: false },
      checkpoints: [],
    },
    all,
  };
}

/** Gives the messages of a conversation of ten every state there is. */
function showStates(shown: MessageView[], all: Map<string, MessageView>): void {
  const change = (index: number, more: Partial<MessageView>) => {
    const message = shown[index];
    if (message !== undefined) Object.assign(message, more);
  };
  change(1, { receipt: receipts.modelChanged, state: "stopped", stop: "cancelled" });
  const second = shown[3];
  if (second !== undefined) {
    const others = ["a", "b"].map((name) => ({ ...second, id: `${second.id}${name}`, receipt: null }));
    const versions = [others[0]?.id ?? "", second.id, others[1]?.id ?? ""];
    second.versions = versions;
    for (const other of others) {
      other.versions = versions;
      other.text = `Version ${other.id}.`;
      all.set(other.id, other);
    }
  }
  change(3, { receipt: receipts.restored });
  change(5, {
    receipt: receipts.damaged,
    state: "interrupted",
    stop: "failed",
    notice: { code: "engine_died", message: "The engine stopped (signal 9). What it wrote so far is kept." },
  });
  change(7, { damaged: true });
  const opened = (ago: number, done: Receipt) => ({ at: Date.now() - ago, receipt: done });
  change(9, {
    stop: "length",
    resumes: [
      opened(2 * day, receipts.damaged),
      opened(day, receipts.modelChanged),
      opened(3_600_000, receipts.restored),
    ],
    resumes_before: 4,
  });
}
