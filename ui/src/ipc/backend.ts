// All that the window can ask of the app, and all that it is told. `tauri.ts` speaks to the real one;
// `fake.ts` plays it for tests and for work in a browser. Nothing else in the UI knows either.

import type { AppEvent } from "./generated/AppEvent";
import type { Ask } from "./generated/Ask";
import type { ConversationPage } from "./generated/ConversationPage";
import type { ConversationView } from "./generated/ConversationView";
import type { ModelChoice } from "./generated/ModelChoice";
import type { ModelRow } from "./generated/ModelRow";
import type { SearchResults } from "./generated/SearchResults";
import type { Settings } from "./generated/Settings";
import type { Startup } from "./generated/Startup";
import type { TokenCount } from "./generated/TokenCount";
import type { TurnUpdate } from "./generated/TurnUpdate";

/** Every promise rejects with an `AppError` ({ code, message, remedy }) and with nothing else. */
export interface Backend {
  /** Command `start`. Once, first of all. */
  start(): Promise<Startup>;
  /** Command `listen`, over a Channel. For as long as the window lives. */
  listen(hear: (event: AppEvent) => void): Promise<void>;

  /** Command `list_conversations`. The one that changed last first, the trash not included. */
  listConversations(offset: number, limit: number): Promise<ConversationPage>;
  /** Command `open_conversation`. The branch that is shown; never loads a model or stops an answer. */
  openConversation(id: string): Promise<ConversationView>;
  /** Command `show_version`. Shows the branch with this version of a message, to its newest end. */
  showVersion(message: string): Promise<ConversationView>;
  /** Command `rename_conversation`. */
  renameConversation(id: string, title: string): Promise<void>;
  /** Command `trash_conversations`. Undone by `restoreConversations`. */
  trashConversations(ids: string[]): Promise<void>;
  /** Command `restore_conversations`. */
  restoreConversations(ids: string[]): Promise<void>;
  /** Command `search`. Full text and titles. */
  search(query: string, limit: number): Promise<SearchResults>;

  /**
   * Command `take_turn`, over a Channel: updates in order, the last one is `done` or `failed`. The promise
   * resolves after it; it rejects only where not even the person's message could be kept.
   */
  takeTurn(ask: Ask, hear: (update: TurnUpdate) => void): Promise<void>;
  /** Command `stop_turn`. Ends the answer of this conversation soon, or takes it out of the queue. */
  stopTurn(conversation: string): Promise<void>;

  /** Command `save_draft`. What is typed and not sent; `null` is the new conversation's. */
  saveDraft(conversation: string | null, text: string): Promise<void>;
  /** Command `count_tokens`. Exact where a model is loaded and free, else estimated. */
  countTokens(text: string): Promise<TokenCount>;

  /** Command `pick_model`. Asks with the system's own dialog. */
  pickModel(): Promise<ModelChoice>;
  /** Command `choose_model`. New turns use it; it is loaded when the first one needs it. */
  chooseModel(id: string): Promise<ModelRow[]>;
  /** Command `forget_model`. Takes it off the list; the file is not touched. */
  forgetModel(id: string): Promise<ModelRow[]>;

  /** Command `save_settings`. */
  saveSettings(settings: Settings): Promise<void>;
  /** Command `copy_text`. To the system's clipboard. */
  copyText(text: string): Promise<void>;
  /** Command `open_link`. Shows the address and asks before a browser opens; https, http and mailto only. */
  openLink(address: string): Promise<void>;
}
