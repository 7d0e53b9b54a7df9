import type { Backend } from "../backend";
import { AppError } from "../error";
import type { AppError as Crossed } from "../generated/AppError";
import type { AppEvent } from "../generated/AppEvent";
import type { Ask } from "../generated/Ask";
import type { Choices } from "../generated/Choices";
import type { ConversationRow } from "../generated/ConversationRow";
import type { EnginePhase } from "../generated/EnginePhase";
import type { EngineView } from "../generated/EngineView";
import type { MessageView } from "../generated/MessageView";
import type { ModelRow } from "../generated/ModelRow";
import type { ResumeTrigger } from "../generated/ResumeTrigger";
import type { ResumeUpdate } from "../generated/ResumeUpdate";
import type { SearchHit } from "../generated/SearchHit";
import type { Settings } from "../generated/Settings";
import type { SnapshotOrder } from "../generated/SnapshotOrder";
import type { SnippetPart } from "../generated/SnippetPart";
import type { TurnUpdate } from "../generated/TurnUpdate";
import type { VerifyUpdate } from "../generated/VerifyUpdate";
import { type Chatted, conversationRow, converse, receipt, timing, tokensOf } from "./library";
import { Points } from "./points";
import { Resumes } from "./resumes";
import type { Stage } from "./stage";
import { Storage } from "./storage";
import { answers } from "./texts";

/** Where a turn or an opening stops going on, so that its state can be looked at. */
export type Hold =
  "queued" | "loading" | "reading" | "answering" | "verifying" | "testing" | "checking" | "replaying";

/** What the fake plays. */
export interface Play {
  conversations: number;
  /** Messages of each conversation. */
  messages: number;
  /** Whether titles are there that try to be more than text. */
  odd: boolean;
  /** Whether the first conversation shows every state of a message. */
  states: boolean;
  /** Known models. */
  models: number;
  /** Tokens a second. */
  rate: number;
  /** What is answered; else one of the texts. */
  answer: string | null;
  hold: Hold | null;
  /** Whether the first turn loads the model. */
  cold: boolean;
  trouble: Crossed | null;
  interrupted: number;
  settings: Partial<Settings>;
  snapshots: number;
  /** What snapshots may take, where the person chose it. */
  budget: number | null;
  /** Snapshots that a check finds damaged. */
  damaged: number;
  /** Whether the file of the snapshots cannot be opened. */
  unusable: boolean;
  /** Whether it was found out for some models whether states survive. */
  tested: boolean;
  /** Commands that fail, and how. */
  failing: Record<string, Crossed>;
  /** A turn that fails after this many tokens. */
  failAfter: number | null;
  /** What the turn fails with. */
  failWith: Crossed;
  /** What opening a conversation comes to: `restored`, `ready`, `failed`, or why it is read; `null`: as its mark says. */
  opening: string | null;
  /** What reading a conversation takes, in milliseconds. */
  replayMs: number;
  /** Whether another model wrote the answers: its costs are known, are not, or its file is gone. */
  crossing: "known" | "unknown" | "gone" | null;
  /** Whether no pace was measured yet. */
  unmeasured: boolean;
}

export const defaultSettings: Settings = {
  theme: "system",
  language: "system",
  scale: 100,
  send_key: "enter",
  statistics: true,
  sidebar: true,
  system_prompt: "",
  temperature: null,
  n_ctx: null,
  kv_type: "f16",
};

export const engineDied: Crossed = {
  code: "engine_died",
  message: "The engine stopped (signal 9). Your last message is saved.",
  remedy: "Send the message again; if it happens again, choose a smaller context or model.",
};

export const defaultPlay: Play = {
  conversations: 40,
  messages: 6,
  odd: false,
  states: false,
  models: 2,
  rate: 60,
  answer: null,
  hold: null,
  cold: false,
  trouble: null,
  interrupted: 0,
  settings: {},
  snapshots: 36,
  budget: null,
  damaged: 0,
  unusable: false,
  tested: true,
  failing: {},
  failAfter: null,
  failWith: engineDied,
  opening: null,
  replayMs: 3000,
  crossing: null,
  unmeasured: false,
};

const knownModels: ModelRow[] = [
  {
    id: "m0",
    name: "Llama 3.1 8B Instruct · Q4_K_M",
    path: "~/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
    bytes: 4_920_000_000,
    chosen: true,
  },
  {
    id: "m1",
    name: "SmolLM2 135M Instruct · Q4_1",
    path: "~/models/SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_000_000,
    chosen: false,
  },
  { id: "m2", name: "Qwen 2.5 14B", path: "/media/disk/qwen2.5-14b.gguf", bytes: null, chosen: false },
];

/** Plays the app: for tests, and for work on the page in a browser. */
export class Fake implements Backend {
  readonly play: Play;
  /** Every command that was called, with what was given. */
  readonly calls: { command: string; given: unknown[] }[] = [];
  readonly drafts = new Map<string | null, string>();
  private readonly rows: ConversationRow[];
  private readonly opened = new Map<string, Chatted>();
  private readonly trash = new Map<string, { row: ConversationRow; index: number }>();
  private readonly stops = new Map<string, () => void>();
  private readonly ears: ((event: AppEvent) => void)[] = [];
  private models: ModelRow[];
  private phase: EnginePhase;
  private settings: Settings;
  private born = 0;
  private releaseHold: (() => void) | null = null;
  private readonly stage: Stage = {
    play: defaultPlay,
    reply: (command, given, answer) => this.reply(command, given, answer),
    say: (event) => this.say(event),
    rows: () => this.rows,
    conversation: (id) => this.conversation(id),
    owner: (message) => this.owner(message),
    models: () => this.models,
    engine: () => this.engine(),
    engineIs: (phase) => this.engineIs(phase),
    held: (at) => this.held(at),
    release: () => {
      // What is held in the settings does not go on because a conversation was left.
      if (this.play.hold !== "verifying" && this.play.hold !== "testing") this.release();
    },
    born: () => (this.born += 1),
  };
  private readonly resumes: Resumes;
  private readonly snapshots: Storage;
  private readonly points: Points;

  constructor(play: Partial<Play> = {}) {
    this.play = { ...defaultPlay, ...play };
    this.stage = { ...this.stage, play: this.play };
    const now = Date.now();
    this.rows = Array.from({ length: this.play.conversations }, (_, index) =>
      conversationRow(index, now, this.play.odd),
    );
    this.models = knownModels.slice(0, this.play.models).map((model) => ({ ...model }));
    this.phase = this.models.length === 0 ? { kind: "absent" } : { kind: this.play.cold ? "idle" : "ready" };
    this.settings = { ...defaultSettings, ...this.play.settings };
    this.resumes = new Resumes(this.stage);
    this.snapshots = new Storage(this.stage);
    this.points = new Points(this.stage);
  }

  /** Says something that nobody asked for. */
  say(event: AppEvent): void {
    for (const hear of this.ears) hear(event);
  }

  /** Goes on after a `hold`. */
  release(): void {
    this.play.hold = null;
    this.releaseHold?.();
    this.releaseHold = null;
  }

  start() {
    return this.reply("start", [], () => ({
      info: { name: "Reprise", version: "0.1.0" },
      settings: this.settings,
      conversations: this.page(0, this.play.trouble === null ? 100 : 0),
      models: this.models,
      engine: this.engine(),
      draft: this.drafts.get(null) ?? "",
      trouble: this.play.trouble,
      interrupted: this.play.interrupted,
    }));
  }

  listen(hear: (event: AppEvent) => void) {
    this.ears.push(hear);
    return Promise.resolve();
  }

  listConversations(offset: number, limit: number) {
    return this.reply("list_conversations", [offset, limit], () => this.page(offset, limit));
  }

  openConversation(id: string) {
    return this.reply("open_conversation", [id], () => {
      const { view } = this.conversation(id);
      return { ...view, draft: this.drafts.get(id) ?? "", messages: [...view.messages] };
    });
  }

  showVersion(message: string) {
    return this.reply("show_version", [message], () => {
      const chatted = this.owner(message);
      const version = chatted.all.get(message);
      if (version === undefined) throw this.absent(message);
      this.points.show(chatted, version);
      return { ...chatted.view, messages: [...chatted.view.messages] };
    });
  }

  renameConversation(id: string, title: string) {
    return this.reply("rename_conversation", [id, title], () => {
      const row = this.rows.find((one) => one.id === id);
      if (row === undefined) throw this.absent(id);
      row.title = title;
      this.conversation(id).view.title = title;
    });
  }

  trashConversations(ids: string[]) {
    return this.reply("trash_conversations", [ids], () => {
      for (const id of ids) {
        const index = this.rows.findIndex((one) => one.id === id);
        const [row] = index < 0 ? [] : this.rows.splice(index, 1);
        if (row !== undefined) this.trash.set(id, { row, index });
      }
    });
  }

  restoreConversations(ids: string[]) {
    return this.reply("restore_conversations", [ids], () => {
      for (const id of ids) {
        const kept = this.trash.get(id);
        if (kept !== undefined) this.rows.splice(kept.index, 0, kept.row);
        this.trash.delete(id);
      }
    });
  }

  search(query: string, limit: number) {
    return this.reply("search", [query, limit], () => {
      const hits: SearchHit[] = [];
      for (const row of this.rows.slice(0, 200)) {
        if (hits.length >= limit) break;
        if (row.title.toLowerCase().includes(query.toLowerCase())) {
          hits.push({
            conversation: row.id,
            message: null,
            title: row.title,
            snippet: mark(row.title, query),
          });
        }
        for (const message of this.conversation(row.id).view.messages.slice(0, 6)) {
          if (!message.text.toLowerCase().includes(query.toLowerCase())) continue;
          hits.push({
            conversation: row.id,
            message: message.id,
            title: row.title,
            snippet: mark(around(message.text, query), query),
          });
        }
      }
      return { hits: hits.slice(0, limit), ms: 6 };
    });
  }

  async takeTurn(ask: Ask, hear: (update: TurnUpdate) => void): Promise<void> {
    await this.reply("take_turn", [ask], () => undefined);
    const { chatted, question } = this.keep(ask);
    const id = chatted.row.id;
    let stopped = false;
    this.stops.set(id, () => {
      stopped = true;
      this.release();
    });
    hear({ kind: "kept", conversation: id, title: chatted.view.title, message: question });
    if (this.play.hold === "queued") {
      hear({ kind: "queued" });
      await this.held("queued");
    }
    await this.resumes.giveWay(id, () => hear({ kind: "queued" }));
    if (this.phase.kind === "idle") {
      for (const fraction of [0, 0.25, 0.63]) {
        this.engineIs({ kind: "loading", fraction });
        hear({ kind: "loading", fraction });
        await this.held("loading", fraction === 0.63);
        await this.wait(150);
      }
    }
    this.engineIs({ kind: "answering", conversation: id });
    const total = chatted.view.messages.reduce((sum, one) => sum + tokensOf(one.text), 0);
    hear({ kind: "prepared", tokens: total, reused: Math.max(0, total - 4096) });
    for (const done of [0, 1200, 2540]) {
      if (this.play.hold !== "reading") break;
      hear({ kind: "reading", done, of: 4096, left_ms: done === 0 ? null : 7200 });
      await this.held("reading", done === 2540);
    }
    const answer: MessageView = {
      id: `${id}.n${(this.born += 1)}`,
      parent: question.id,
      speaker: "assistant",
      text: "",
      state: "streaming",
      stop: null,
      notice: null,
      damaged: false,
      created: Date.now(),
      versions: [],
      receipt: null,
      resumes: [],
      resumes_before: 0,
      timing: null,
      model: this.models.find((model) => model.chosen)?.name ?? null,
    };
    const siblings = [...chatted.all.values()].filter((one) => one.parent === question.id);
    answer.versions = [...siblings.map((one) => one.id), answer.id];
    for (const sibling of siblings) sibling.versions = answer.versions;
    chatted.all.set(answer.id, answer);
    hear({ kind: "answering", message: { ...answer } });
    const text = this.play.answer ?? answers[(this.born + 1) % answers.length] ?? "";
    const pieces = text.match(/[\s\S]{1,4}/gu) ?? [];
    // Tokens reach the window in batches, as from the app.
    const beat = 40;
    let sent = 0;
    const begun = Date.now();
    while (sent < pieces.length && !stopped) {
      await this.wait(beat);
      const due = Math.max(sent + 1, Math.floor(((Date.now() - begun) / 1000) * this.play.rate));
      const batch = pieces.slice(sent, due);
      sent += batch.length;
      answer.text += batch.join("");
      hear({ kind: "text", text: batch.join(""), tokens: sent });
      if (this.play.failAfter !== null && sent >= this.play.failAfter) {
        return this.fail(chatted, answer, hear);
      }
      await this.held("answering", sent > pieces.length * 0.7);
    }
    answer.state = stopped ? "stopped" : "complete";
    answer.stop = stopped ? "cancelled" : "end";
    answer.timing = timing(sent);
    answer.receipt = receipt(chatted.view.messages.length < 3 ? "fresh" : "live", total);
    this.end(chatted, answer);
    hear({ kind: "done", message: { ...answer }, context_used: total + sent });
  }

  stopTurn(conversation: string) {
    return this.reply("stop_turn", [conversation], () => this.stops.get(conversation)?.());
  }

  resume(conversation: string, trigger: ResumeTrigger, hear: (update: ResumeUpdate) => void) {
    return this.resumes.resume(conversation, trigger, hear);
  }

  stopResume(conversation: string) {
    return this.resumes.stop(conversation);
  }

  marks(conversations: string[]) {
    return this.resumes.marks(conversations);
  }

  outlook(conversation: string) {
    return this.resumes.outlook(conversation);
  }

  chooseFor(conversation: string, choices: Choices) {
    return this.points.choose(conversation, choices);
  }

  changeInstructions(conversation: string, text: string) {
    return this.points.changeInstructions(conversation, text);
  }

  nameCheckpoint(message: string, name: string) {
    return this.points.name(message, name);
  }

  removeCheckpoint(message: string) {
    return this.points.remove(message);
  }

  jumpTo(message: string) {
    return this.points.jump(message);
  }

  storage() {
    return this.snapshots.storage();
  }

  listSnapshots(order: SnapshotOrder, offset: number, limit: number) {
    return this.snapshots.list(order, offset, limit);
  }

  setSnapshotBudget(bytes: number | null) {
    return this.snapshots.setBudget(bytes);
  }

  pinSnapshot(id: string, pinned: boolean) {
    return this.snapshots.pin(id, pinned);
  }

  dropSnapshot(id: string) {
    return this.snapshots.drop(id);
  }

  clearSnapshots() {
    return this.snapshots.clear();
  }

  verifySnapshots(hear: (update: VerifyUpdate) => void) {
    return this.snapshots.verify(hear);
  }

  stopVerify() {
    return this.snapshots.stopVerify();
  }

  showDataFolder() {
    return this.snapshots.showFolder();
  }

  qualifications() {
    return this.snapshots.qualifications();
  }

  qualify() {
    return this.snapshots.qualify();
  }

  saveDraft(conversation: string | null, text: string) {
    return this.reply("save_draft", [conversation, text], () => void this.drafts.set(conversation, text));
  }

  countTokens(text: string) {
    return this.reply("count_tokens", [text], () => ({
      tokens: tokensOf(text),
      exact: this.phase.kind === "ready",
    }));
  }

  pickModel() {
    return this.reply("pick_model", [], () => {
      if (this.models.length > 0) return { kind: "cancelled" } as const;
      this.models = [{ ...(knownModels[1] as ModelRow), chosen: true }];
      this.engineIs({ kind: "idle" });
      return { kind: "chosen", models: this.models } as const;
    });
  }

  chooseModel(id: string) {
    return this.reply("choose_model", [id], () => {
      this.models = this.models.map((model) => ({ ...model, chosen: model.id === id }));
      return this.models;
    });
  }

  forgetModel(id: string) {
    return this.reply("forget_model", [id], () => {
      this.models = this.models.filter((model) => model.id !== id);
      return this.models;
    });
  }

  saveSettings(settings: Settings) {
    return this.reply("save_settings", [settings], () => void (this.settings = settings));
  }

  copyText(text: string) {
    return this.reply("copy_text", [text], () => undefined);
  }

  openLink(address: string) {
    return this.reply("open_link", [address], () => undefined);
  }

  private reply<Answer>(command: string, given: unknown[], answer: () => Answer): Promise<Answer> {
    this.calls.push({ command, given });
    const failure = this.play.failing[command];
    if (failure !== undefined) return Promise.reject(new AppError(failure));
    try {
      return Promise.resolve(answer());
    } catch (reason) {
      return Promise.reject(reason as AppError);
    }
  }

  private page(offset: number, limit: number) {
    const rows = this.rows.slice(offset, offset + limit).map((row) => ({ ...row }));
    return { rows, offset, total: this.play.trouble === null ? this.rows.length : 0 };
  }

  private engine(): EngineView {
    const chosen = this.models.find((model) => model.chosen);
    const loaded = this.phase.kind === "ready" || this.phase.kind === "answering";
    return {
      phase: this.phase,
      loaded: loaded && chosen ? { id: chosen.id, name: chosen.name, n_ctx: 8192 } : null,
      device: "CPU",
    };
  }

  private engineIs(phase: EnginePhase): void {
    this.phase = phase;
    this.say({ kind: "engine", engine: this.engine() });
  }

  private conversation(id: string): Chatted {
    const known = this.opened.get(id);
    if (known !== undefined) return known;
    const row = this.rows.find((one) => one.id === id);
    if (row === undefined) throw this.absent(id);
    const states = this.play.states && row === this.rows[0];
    const chatted = converse(row, { messages: states ? 10 : this.play.messages, states });
    this.opened.set(id, chatted);
    return chatted;
  }

  private owner(message: string): Chatted {
    return this.conversation(message.split(".")[0] ?? "");
  }

  private absent(id: string): AppError {
    return new AppError({
      code: "not_found",
      message: `There is no conversation ${id}. It may have been deleted.`,
      remedy: "Refresh the list of conversations.",
    });
  }

  /** Keeps what the person said, and shows the branch that ends with it. */
  private keep(ask: Ask): { chatted: Chatted; question: MessageView } {
    if (ask.kind === "begin") {
      const id = `b${(this.born += 1)}`;
      const row: ConversationRow = {
        id,
        title: ask.text.slice(0, 60),
        updated: Date.now(),
        messages: 1,
        model: null,
      };
      this.rows.unshift(row);
      const chatted = converse(row, { messages: 0, states: false });
      this.opened.set(id, chatted);
      return { chatted, question: this.said(chatted, ask.text, null) };
    }
    if (ask.kind === "continue") {
      const chatted = this.conversation(ask.conversation);
      return { chatted, question: this.said(chatted, ask.text, chatted.view.messages.at(-1)?.id ?? null) };
    }
    const target = ask.kind === "regenerate" ? ask.answer : ask.message;
    const chatted = this.owner(target);
    const old = chatted.all.get(target);
    if (old === undefined) throw this.absent(target);
    if (ask.kind === "edit") return { chatted, question: this.said(chatted, ask.text, old.parent) };
    const question = ask.kind === "retry" ? old : (chatted.all.get(old.parent ?? "") ?? old);
    const at = chatted.view.messages.findIndex((one) => one.id === question.id);
    chatted.view.messages = chatted.view.messages.slice(0, at + 1);
    return { chatted, question };
  }

  private said(chatted: Chatted, text: string, parent: string | null): MessageView {
    const siblings = [...chatted.all.values()].filter((one) => one.parent === parent);
    const message: MessageView = {
      id: `${chatted.row.id}.n${(this.born += 1)}`,
      parent,
      speaker: "user",
      text,
      state: "complete",
      stop: null,
      notice: null,
      damaged: false,
      created: Date.now(),
      versions: [],
      receipt: null,
      resumes: [],
      resumes_before: 0,
      timing: null,
      model: null,
    };
    message.versions = [...siblings.map((one) => one.id), message.id];
    for (const sibling of siblings) sibling.versions = message.versions;
    const at = parent === null ? -1 : chatted.view.messages.findIndex((one) => one.id === parent);
    chatted.view.messages = [...chatted.view.messages.slice(0, at + 1), message];
    chatted.all.set(message.id, message);
    return message;
  }

  private end(chatted: Chatted, answer: MessageView): void {
    chatted.view.messages = [...chatted.view.messages, answer];
    this.stops.delete(chatted.row.id);
    this.resumes.answered(chatted.row.id);
    this.engineIs({ kind: "ready" });
  }

  private fail(chatted: Chatted, answer: MessageView, hear: (update: TurnUpdate) => void): void {
    const kept = answer.text === "" ? null : answer;
    answer.state = "interrupted";
    answer.stop = "failed";
    if (kept === null) chatted.all.delete(answer.id);
    else this.end(chatted, answer);
    hear({ kind: "failed", error: this.play.failWith, message: kept === null ? null : { ...kept } });
  }

  private held(at: Hold, here = true): Promise<void> {
    if (this.play.hold !== at || !here) return Promise.resolve();
    return new Promise((resolve) => (this.releaseHold = resolve));
  }

  private wait(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
}

function around(text: string, query: string): string {
  const at = text.toLowerCase().indexOf(query.toLowerCase());
  const from = Math.max(0, at - 60);
  return `${from > 0 ? "…" : ""}${text.slice(from, at + 100)}`;
}

function mark(text: string, query: string): SnippetPart[] {
  const at = text.toLowerCase().indexOf(query.toLowerCase());
  if (at < 0) return [{ text, hit: false }];
  return [
    { text: text.slice(0, at), hit: false },
    { text: text.slice(at, at + query.length), hit: true },
    { text: text.slice(at + query.length), hit: false },
  ].filter((part) => part.text !== "");
}
