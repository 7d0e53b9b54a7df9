// All that the window can ask of the app, and all that it is told. `tauri.ts` speaks to the real one;
// `fake.ts` plays it for tests and for work in a browser. Nothing else in the UI knows either.

import type { AppEvent } from "./generated/AppEvent";
import type { Ask } from "./generated/Ask";
import type { Choices } from "./generated/Choices";
import type { Cleared } from "./generated/Cleared";
import type { ConversationPage } from "./generated/ConversationPage";
import type { ConversationView } from "./generated/ConversationView";
import type { Mark } from "./generated/Mark";
import type { ModelChoice } from "./generated/ModelChoice";
import type { ModelRow } from "./generated/ModelRow";
import type { Outlook } from "./generated/Outlook";
import type { Qualifications } from "./generated/Qualifications";
import type { ResumeTrigger } from "./generated/ResumeTrigger";
import type { ResumeUpdate } from "./generated/ResumeUpdate";
import type { SearchResults } from "./generated/SearchResults";
import type { Settings } from "./generated/Settings";
import type { SnapshotOrder } from "./generated/SnapshotOrder";
import type { SnapshotPage } from "./generated/SnapshotPage";
import type { Startup } from "./generated/Startup";
import type { StorageView } from "./generated/StorageView";
import type { TokenCount } from "./generated/TokenCount";
import type { TurnUpdate } from "./generated/TurnUpdate";
import type { VerifyUpdate } from "./generated/VerifyUpdate";

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
  /** Command `choose_for_conversation`. Holds from the next opening and the next answer on. */
  chooseFor(conversation: string, choices: Choices): Promise<void>;
  /**
   * Command `change_instructions`. Other instructions for a conversation; empty: none. The branch that is shown is
   * copied behind them, the one before stays.
   */
  changeInstructions(conversation: string, text: string): Promise<ConversationView>;
  /** Command `name_checkpoint`. Names a message or renames it, and pins the snapshot that reaches it. */
  nameCheckpoint(message: string, name: string): Promise<ConversationView>;
  /** Command `remove_checkpoint`. The message stays. */
  removeCheckpoint(message: string): Promise<ConversationView>;
  /** Command `jump_to`. Shows the conversation up to this message; what is written next begins a branch there. */
  jumpTo(message: string): Promise<ConversationView>;
  /** Command `search`. Full text and titles. */
  search(query: string, limit: number): Promise<SearchResults>;

  /**
   * Command `take_turn`, over a Channel: updates in order, the last one is `done` or `failed`. The promise
   * resolves after it; it rejects only where not even the person's message could be kept.
   */
  takeTurn(ask: Ask, hear: (update: TurnUpdate) => void): Promise<void>;
  /** Command `stop_turn`. Ends the answer of this conversation soon, or takes it out of the queue. */
  stopTurn(conversation: string): Promise<void>;

  /**
   * Command `resume_conversation`, over a Channel. Makes a conversation ready for its next message; the last update is
   * `ready`, `not_yet`, `stopped` or `failed`. One at a time: another takes the place of the one that goes on, and a
   * message in another conversation ends it.
   */
  resume(conversation: string, trigger: ResumeTrigger, hear: (update: ResumeUpdate) => void): Promise<void>;
  /** Command `stop_resume`. What was read so far stays in the KV cache. */
  stopResume(conversation: string): Promise<void>;
  /** Command `marks`. At most 200 at once. */
  marks(conversations: string[]): Promise<Mark[]>;
  /** Command `outlook`. What going on with this conversation will cost. */
  outlook(conversation: string): Promise<Outlook>;

  /** Command `storage`. */
  storage(): Promise<StorageView>;
  /** Command `list_snapshots`. */
  listSnapshots(order: SnapshotOrder, offset: number, limit: number): Promise<SnapshotPage>;
  /** Command `set_snapshot_budget`, in bytes; `null`: the default. Evicts what is too much; never a message. */
  setSnapshotBudget(bytes: number | null): Promise<StorageView>;
  /** Command `pin_snapshot`. A pinned one is never evicted. */
  pinSnapshot(id: string, pinned: boolean): Promise<void>;
  /** Command `drop_snapshot`. */
  dropSnapshot(id: string): Promise<Cleared>;
  /** Command `clear_snapshots`. All of them, pinned ones too. */
  clearSnapshots(): Promise<Cleared>;
  /** Command `verify_snapshots`, over a Channel: reads all of them; damaged ones are removed. */
  verifySnapshots(hear: (update: VerifyUpdate) => void): Promise<void>;
  /** Command `stop_verify`. */
  stopVerify(): Promise<void>;
  /** Command `show_data_folder`. In the system's file manager. */
  showDataFolder(): Promise<void>;
  /** Command `qualifications`. */
  qualifications(): Promise<Qualifications>;
  /** Command `qualify`. Finds out anew whether states of the loaded model survive here; waits for a running answer. */
  qualify(): Promise<Qualifications>;

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
