// What the stores have to do with each other. They do not know of one another; what the person does ends here.

import { untrack } from "svelte";
import { SvelteMap } from "svelte/reactivity";
import type { Backend } from "../ipc/backend";
import { type AppError, asAppError } from "../ipc/error";
import type { AppEvent } from "../ipc/generated/AppEvent";
import type { Ask } from "../ipc/generated/Ask";
import type { Choices } from "../ipc/generated/Choices";
import type { ConversationView } from "../ipc/generated/ConversationView";
import type { EngineView } from "../ipc/generated/EngineView";
import type { MessageView } from "../ipc/generated/MessageView";
import type { TurnUpdate } from "../ipc/generated/TurnUpdate";
import { Banner } from "../state/banner.svelte";
import { Conversation } from "../state/conversation.svelte";
import { Conversations } from "../state/conversations.svelte";
import { Drafts } from "../state/drafts.svelte";
import { Engine } from "../state/engine.svelte";
import { Marks } from "../state/marks.svelte";
import { Models } from "../state/models.svelte";
import { Outlook } from "../state/outlook.svelte";
import { Place, type SettingsPage } from "../state/place.svelte";
import { Points } from "../state/points.svelte";
import { Qualifications } from "../state/qualifications.svelte";
import { Resume } from "../state/resume.svelte";
import { Search } from "../state/search.svelte";
import { Settings } from "../state/settings.svelte";
import { Spoken } from "../state/spoken.svelte";
import { Storage } from "../state/storage.svelte";
import { Toast } from "../state/toast.svelte";
import { TokenCount } from "../state/tokenCount.svelte";
import { Turn } from "../state/turn.svelte";
import { Turns } from "../state/turns.svelte";

export class App {
  readonly place = new Place();
  readonly conversations: Conversations;
  readonly turns = new Turns();
  readonly engine = new Engine();
  readonly models: Models;
  readonly settings: Settings;
  readonly search: Search;
  readonly marks: Marks;
  readonly outlook: Outlook;
  readonly resume: Resume;
  readonly storage: Storage;
  readonly qualifications: Qualifications;
  readonly points: Points;
  readonly drafts: Drafts;
  readonly tokens: TokenCount;
  readonly banner = new Banner();
  readonly toast = new Toast();
  readonly spoken = new Spoken();
  /** Name and version. */
  info = $state.raw({ name: "Reprise", version: "" });
  /** Whether the app has answered. */
  started = $state(false);
  /** Why nothing can be done here. */
  trouble = $state.raw<AppError | null>(null);

  private readonly opened = new SvelteMap<string, Conversation>();
  /** When the state of a conversation was last put on the disk in this session, by conversation. */
  private readonly saved = new SvelteMap<string, number>();
  /** That of what is shown. */
  readonly savedAt = $derived(
    this.place.conversation === null ? null : (this.saved.get(this.place.conversation) ?? null),
  );
  /** The conversation that is shown, once it is there. */
  readonly shown = $derived(
    this.place.conversation === null ? null : (this.opened.get(this.place.conversation) ?? null),
  );
  /** The turn of what is shown. */
  readonly turn = $derived(this.turns.of(this.place.conversation));
  /** Whether what is shown is being answered. */
  readonly answering = $derived(this.turns.running(this.place.conversation));

  constructor(
    private readonly backend: Backend,
    private readonly now: () => number = () => performance.now(),
    private readonly clock: () => number = () => Date.now(),
  ) {
    const report = (reason: unknown) => this.report(reason);
    this.conversations = new Conversations(backend);
    this.models = new Models(backend);
    this.settings = new Settings(backend, report);
    this.search = new Search(backend);
    this.marks = new Marks(backend);
    this.outlook = new Outlook(backend);
    this.resume = new Resume(backend, {
      busy: () => this.turns.any() || this.engine.phase.kind === "answering",
      held: async (id, trigger) => {
        const told = await this.outlook.known(id);
        const crossing = told === null ? null : this.outlook.crossing;
        // Where the chosen model opens it at once there is nothing to ask first.
        return crossing !== null && !(trigger === "opened" && crossing.now.instant);
      },
      kept: (id, message, resumed) => this.opened.get(id)?.resumed(message, resumed),
    });
    this.storage = new Storage(backend, now);
    this.qualifications = new Qualifications(backend);
    this.points = new Points(backend);
    this.drafts = new Drafts(backend, report);
    this.tokens = new TokenCount(backend);
    // For as long as the window lives.
    $effect.root(() => {
      $effect(() => {
        const shown = this.place.view === "conversation" ? this.place.conversation : null;
        untrack(() => {
          this.outlook.show(shown);
          this.resume.show(shown);
        });
      });
    });
  }

  async start(): Promise<void> {
    try {
      const startup = await this.backend.start();
      this.info = startup.info;
      this.settings.now = startup.settings;
      this.conversations.begin(startup.conversations);
      this.models.rows = startup.models;
      this.engine.view = startup.engine;
      this.drafts.known(null, startup.draft);
      this.trouble = startup.trouble === null ? null : asAppError(startup.trouble);
      if (startup.interrupted > 0) this.banner.tell({ kind: "interrupted", answers: startup.interrupted });
      await this.backend.listen((event) => this.hear(event));
    } catch (reason) {
      this.trouble = asAppError(reason);
    }
    this.started = true;
  }

  /** Shows what failed. */
  report(reason: unknown): void {
    this.banner.tell({ kind: "error", error: asAppError(reason) });
  }

  hear(event: AppEvent): void {
    if (event.kind === "saved" || event.kind === "marks") this.storage.stale();
    switch (event.kind) {
      case "engine":
        this.hearEngine(event.engine);
        break;
      case "saved":
        this.saved.set(event.conversation, event.at);
        // A snapshot may reach a named message now.
        if (event.conversation === this.place.conversation) void this.lookAtPoints();
        this.marks.renew();
        break;
      case "marks":
        this.marks.renew();
        this.outlook.renew();
        this.resume.forget();
        break;
      case "engine_lost":
        this.resume.forget();
        // A turn that is on the screen says it itself.
        if (!this.answering) this.report(event.error);
        break;
      case "not_saved":
        this.report(event.error);
        break;
      case "dragging":
        this.models.dragging = event.over;
        break;
      case "dropped": {
        this.models.dragging = false;
        const before = this.models.chosen?.id;
        const refusal = this.models.take(event.choice);
        if (refusal !== null) this.report(refusal);
        void this.otherModel(before);
        break;
      }
    }
  }

  private hearEngine(view: EngineView): void {
    const before = this.engine.view;
    this.engine.view = view;
    const { kind } = view.phase;
    if (kind === "loading" || kind === "answering") return;
    if (view.loaded?.id !== before.loaded?.id) this.resume.forget();
    if (view.loaded?.id !== before.loaded?.id || kind !== before.phase.kind) {
      this.marks.renew();
      this.outlook.renew();
    }
    this.resume.again();
  }

  // ── where one is ─────────────────────────────────────────────────────────

  /** Shows a conversation, at a message where one is named. */
  async open(id: string, message: string | null = null): Promise<void> {
    this.place.view = "conversation";
    this.place.conversation = id;
    try {
      // What is being answered is here already, and newer than what the app has stored.
      if (!this.turns.running(id) || !this.opened.has(id)) {
        const view = await this.backend.openConversation(id);
        this.show(view);
        this.points.opened(view, this.conversations.find(id)?.messages ?? null);
      }
      const conversation = this.opened.get(id);
      if (message !== null && conversation?.find(message) === undefined && !this.turns.running(id)) {
        this.show(await this.backend.showVersion(message));
      }
      if (this.place.conversation === id) this.place.message = message;
      this.forget();
    } catch (reason) {
      if (this.place.conversation === id && !this.opened.has(id)) this.place.conversation = null;
      this.report(reason);
    }
  }

  /** Shows an empty conversation, ready to type in. */
  begin(): void {
    this.place.view = "conversation";
    this.place.conversation = null;
    this.place.message = null;
    this.place.composing += 1;
  }

  /** Shows the branch with another version of a message, `by` further. */
  async step(message: MessageView, by: -1 | 1): Promise<void> {
    if (this.answering) return;
    const next = message.versions[message.versions.indexOf(message.id) + by];
    if (next === undefined) return;
    await this.attempt(async () => this.points.left(this.show(await this.backend.showVersion(next)).id));
  }

  /** Shows a page of the settings. */
  openSettings(page: SettingsPage): void {
    this.place.view = "settings";
    this.place.page = page;
  }

  private show(view: ConversationView): Conversation {
    const conversation = this.opened.get(view.id) ?? new Conversation(view.id);
    const end = conversation.messages.at(-1)?.id;
    conversation.show(view);
    // Another branch: what is ready is not ready for it.
    if (end !== undefined && end !== view.messages.at(-1)?.id && view.id === this.place.conversation) {
      this.resume.restart();
      this.outlook.renew();
    }
    this.opened.set(view.id, conversation);
    this.drafts.known(view.id, view.draft);
    return conversation;
  }

  /** Lets go of conversations that are neither shown nor answered. */
  private forget(): void {
    for (const id of [...this.opened.keys()]) {
      if (id !== this.place.conversation && !this.turns.running(id)) this.opened.delete(id);
    }
  }

  // ── turns ────────────────────────────────────────────────────────────────

  /** Sends what is in the composer. */
  async send(): Promise<void> {
    const conversation = this.place.conversation;
    if (this.answering || !this.models.usable) return;
    if (this.drafts.of(conversation).trim() === "") return;
    const text = this.drafts.take(conversation);
    const ask: Ask =
      conversation === null ? { kind: "begin", text } : { kind: "continue", conversation, text };
    const kept = await this.ask(ask, conversation);
    if (kept) this.drafts.sent(conversation);
    else this.drafts.putBack(conversation, text);
  }

  edit(message: string, text: string): Promise<boolean> {
    return this.ask({ kind: "edit", message, text }, this.place.conversation);
  }

  regenerate(answer: string): Promise<boolean> {
    return this.ask({ kind: "regenerate", answer }, this.place.conversation);
  }

  /** Answers a message again whose answer failed. */
  retry(message: string): Promise<boolean> {
    return this.ask({ kind: "retry", message }, this.place.conversation);
  }

  /** Ends the answer of what is shown. */
  stop(): void {
    const turn = this.turn;
    if (turn === null || !turn.running || turn.conversation === null || turn.stopping) return;
    turn.stopping = true;
    this.backend.stopTurn(turn.conversation).catch((reason: unknown) => {
      turn.stopping = false;
      this.report(reason);
    });
  }

  /** Takes a turn. Gives whether the person's message is kept. */
  private async ask(ask: Ask, conversation: string | null): Promise<boolean> {
    if (this.turns.running(conversation)) return false;
    const turn = new Turn(ask, this.now);
    turn.conversation = conversation;
    this.turns.hold(turn);
    this.resume.turnBegins();
    return new Promise((resolve) => {
      this.backend
        .takeTurn(ask, (update) => {
          this.hearTurn(turn, update);
          if (update.kind === "kept") resolve(true);
        })
        .catch((reason: unknown) => {
          this.turns.drop(turn);
          this.report(reason);
          resolve(false);
        });
    });
  }

  private hearTurn(turn: Turn, update: TurnUpdate): void {
    turn.hear(update);
    const id = turn.conversation;
    if (id === null) return;
    if (update.kind === "kept") this.keep(turn, id, update);
    this.opened.get(id)?.hear(update);
    const here = id === this.place.conversation;
    if (here && update.kind === "text") this.spoken.hear(update.text);
    if (update.kind === "done" || update.kind === "failed") this.end(turn, id, update, here);
  }

  private keep(turn: Turn, id: string, update: Extract<TurnUpdate, { kind: "kept" }>): void {
    const shownHere = this.turns.beginning === turn && this.place.conversation === null;
    this.turns.hold(turn);
    if (!this.opened.has(id)) {
      this.show({
        id,
        title: update.title,
        model: null,
        system: null,
        messages: [],
        draft: "",
        choices: { always_replay: false, always_cpu: false },
        checkpoints: [],
      });
    }
    if (shownHere) this.place.conversation = id;
    // To regenerate and to try again answer a message that is there already.
    const again = turn.ask.kind === "regenerate" || turn.ask.kind === "retry";
    this.touch(id, update.title, again ? 0 : 1);
  }

  private end(
    turn: Turn,
    id: string,
    update: Extract<TurnUpdate, { kind: "done" | "failed" }>,
    here: boolean,
  ): void {
    this.touch(id, this.opened.get(id)?.title ?? "", update.message === null ? 0 : 1);
    if (here) this.spoken.end();
    if (update.kind === "done") {
      this.turns.drop(turn);
      if (turn.notKept !== null) this.report(turn.notKept);
    } else if (!here) {
      this.banner.tell({ kind: "error", error: asAppError(update.error), show: () => void this.open(id) });
    }
    if (update.kind === "done") this.resume.answered(id, update.message.id);
    this.resume.again();
    this.outlook.renew();
    if (!here) this.forget();
  }

  private touch(id: string, title: string, more: number): void {
    const row = this.conversations.find(id);
    this.conversations.touch({
      id,
      title,
      updated: this.clock(),
      messages: (row?.messages ?? 0) + more,
      model: this.opened.get(id)?.model ?? row?.model ?? null,
    });
  }

  // ── named points, choices and instructions of a conversation ─────────────

  // These are asked for in dialogs and forms, which tell by themselves what failed: a banner would lie under them.

  /** Gives a message a name, or another one. */
  async namePoint(message: string, name: string): Promise<AppError | null> {
    return failure(async () => this.renewPoints(await this.points.name(message, name)));
  }

  /** Takes the name off a message. */
  async removePoint(message: string): Promise<AppError | null> {
    return failure(async () => this.renewPoints(await this.points.remove(message)));
  }

  /** Takes the name off a message, with a way back. */
  async forgetPoint(message: string): Promise<void> {
    const point = this.shown?.named(message);
    if (point === undefined) return;
    const failed = await this.removePoint(message);
    if (failed !== null) return this.report(failed);
    const undo = () => {
      this.toast.close();
      void this.attempt(async () => this.renewPoints(await this.points.name(message, point.name)));
    };
    this.toast.show({ kind: "unnamed", name: point.name, undo });
  }

  /** Shows the conversation up to a named message. */
  async jump(message: string): Promise<AppError | null> {
    return failure(async () => {
      this.show(await this.points.jump(message, this.shown?.messages.at(-1)?.id ?? null));
      this.place.ended += 1;
    });
  }

  /** Shows the end that was left by a jump. */
  async jumpBack(): Promise<void> {
    const id = this.place.conversation;
    if (id === null || this.answering) return;
    await this.attempt(async () => {
      const view = await this.points.back(id);
      if (view !== null) this.show(view);
      this.place.ended += 1;
    });
  }

  /** Looks whether named messages are reached by snapshots now. */
  async lookAtPoints(): Promise<void> {
    const conversation = this.shown;
    if (conversation === null || conversation.checkpoints.every((point) => point.pinned)) return;
    await this.attempt(async () => this.renewPoints(await this.backend.openConversation(conversation.id)));
  }

  /** Chooses how the conversation that is shown is computed. */
  async choose(part: Partial<Choices>): Promise<AppError | null> {
    const conversation = this.shown;
    if (conversation === null) return null;
    const before = conversation.choices;
    const chosen = { ...before, ...part };
    conversation.choices = chosen;
    const failed = await failure(() => this.backend.chooseFor(conversation.id, chosen));
    if (failed !== null) conversation.choices = before;
    this.marks.renew();
    this.outlook.renew();
    return failed;
  }

  /** Copies the branch that is shown behind other instructions. */
  async changeInstructions(text: string): Promise<AppError | null> {
    const id = this.place.conversation;
    if (id === null) return null;
    return failure(async () => {
      this.show(await this.backend.changeInstructions(id, text));
      this.points.left(id);
      this.toast.show({ kind: "branched" });
    });
  }

  /** Takes the names over, and nothing else: an answer may be growing. */
  private renewPoints(view: ConversationView): void {
    const conversation = this.opened.get(view.id);
    if (conversation !== undefined) conversation.checkpoints = view.checkpoints;
  }

  // ── snapshots ────────────────────────────────────────────────────────────

  /** Does something to snapshots; shows where it failed. Gives whether it went well. */
  withStorage(what: (storage: Storage) => Promise<void>): Promise<boolean> {
    return this.attempted(() => what(this.storage));
  }

  showDataFolder(): Promise<boolean> {
    return this.attempted(() => this.backend.showDataFolder());
  }

  // ── the list ─────────────────────────────────────────────────────────────

  rename(id: string, title: string): Promise<void> {
    return this.attempt(async () => {
      await this.conversations.rename(id, title);
      const conversation = this.opened.get(id);
      if (conversation !== undefined) conversation.title = title;
    });
  }

  /** Deletes with a way back. */
  trash(id: string): Promise<void> {
    return this.attempt(async () => {
      const shown = this.place.conversation === id;
      if (shown) this.begin();
      const done = this.conversations.trash([id]);
      const undo = () =>
        void this.attempt(async () => {
          this.toast.close();
          await this.conversations.restore([id]);
          if (shown) await this.open(id);
        });
      this.toast.show({ kind: "deleted", count: 1, undo });
      try {
        await done;
      } catch (reason) {
        this.toast.close();
        throw reason;
      }
    });
  }

  // ── models, links, clipboard ─────────────────────────────────────────────

  pickModel(): Promise<void> {
    return this.attempt(async () => {
      const before = this.models.chosen?.id;
      const refusal = await this.models.pick();
      if (refusal !== null) this.report(refusal);
      await this.otherModel(before);
    });
  }

  chooseModel(id: string): Promise<void> {
    return this.attempt(async () => {
      const before = this.models.chosen?.id;
      await this.models.choose(id);
      await this.otherModel(before);
    });
  }

  /** Goes on with the model that wrote the last answer. */
  async useBefore(id: string): Promise<void> {
    await this.chooseModel(id);
    if (this.models.chosen?.id === id) this.resume.settled();
  }

  /** Goes on with the chosen model, which did not write the last answer. */
  goOn(): void {
    this.outlook.goOn();
    this.resume.settled();
  }

  private async otherModel(before: string | undefined): Promise<void> {
    if (this.models.chosen?.id === before) return;
    this.marks.renew();
    this.resume.restart();
    await this.outlook.ask();
  }

  forgetModel(id: string): Promise<void> {
    return this.attempt(async () => {
      const before = this.models.chosen?.id;
      await this.models.forget(id);
      await this.otherModel(before);
    });
  }

  copy(text: string): Promise<void> {
    return this.attempt(async () => {
      await this.backend.copyText(text);
      this.toast.show({ kind: "copied" });
    });
  }

  openLink(address: string): Promise<void> {
    return this.attempt(() => this.backend.openLink(address));
  }

  /** Saves what is typed and chosen; before the window hides or closes. */
  flush(): void {
    this.drafts.flush();
    this.settings.flush();
  }

  private async attempt(what: () => Promise<unknown>): Promise<void> {
    await this.attempted(what);
  }

  /** Does something and shows where it failed. Gives whether it went well. */
  private async attempted(what: () => Promise<unknown>): Promise<boolean> {
    try {
      await what();
      return true;
    } catch (reason) {
      this.report(reason);
      return false;
    }
  }
}

/** Does something, and gives what failed. */
async function failure(what: () => Promise<unknown>): Promise<AppError | null> {
  try {
    await what();
    return null;
  } catch (reason) {
    return asAppError(reason);
  }
}
