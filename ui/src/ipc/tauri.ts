// The app behind the window. Nothing else speaks to Tauri.

import { Channel, invoke } from "@tauri-apps/api/core";
import type { Backend } from "./backend";
import { asAppError } from "./error";
import type { AppEvent } from "./generated/AppEvent";
import type { ResumeUpdate } from "./generated/ResumeUpdate";
import type { TurnUpdate } from "./generated/TurnUpdate";
import type { VerifyUpdate } from "./generated/VerifyUpdate";

async function ask<Answer>(command: string, given?: Record<string, unknown>): Promise<Answer> {
  try {
    return await invoke<Answer>(command, given);
  } catch (reason) {
    throw asAppError(reason);
  }
}

/** A command that reports over a channel. A channel delivers in order, but not before the command's own answer: the
 * last update ends it. */
async function told<Update>(
  command: string,
  given: Record<string, unknown>,
  hear: (update: Update) => void,
  isLast: (update: Update) => boolean,
): Promise<void> {
  const channel = new Channel<Update>();
  const ended = new Promise<void>((resolve) => {
    channel.onmessage = (update) => {
      hear(update);
      if (isLast(update)) resolve();
    };
  });
  await ask(command, { ...given, hear: channel });
  await ended;
}

/** The app that this page is the window of. */
export function connect(): Backend {
  return {
    start: () => ask("start"),
    listen: (hear) => {
      const channel = new Channel<AppEvent>();
      channel.onmessage = hear;
      return ask("listen", { hear: channel });
    },
    listConversations: (offset, limit) => ask("list_conversations", { offset, limit }),
    openConversation: (id) => ask("open_conversation", { id }),
    showVersion: (message) => ask("show_version", { message }),
    renameConversation: (id, title) => ask("rename_conversation", { id, title }),
    trashConversations: (ids) => ask("trash_conversations", { ids }),
    restoreConversations: (ids) => ask("restore_conversations", { ids }),
    chooseFor: (conversation, choices) => ask("choose_for_conversation", { conversation, choices }),
    changeInstructions: (conversation, text) => ask("change_instructions", { conversation, text }),
    nameCheckpoint: (message, name) => ask("name_checkpoint", { message, name }),
    removeCheckpoint: (message) => ask("remove_checkpoint", { message }),
    jumpTo: (message) => ask("jump_to", { message }),
    search: (query, limit) => ask("search", { query, limit }),
    takeTurn: (turn, hear) =>
      told<TurnUpdate>("take_turn", { ask: turn }, hear, ({ kind }) => kind === "done" || kind === "failed"),
    stopTurn: (conversation) => ask("stop_turn", { conversation }),
    resume: (conversation, trigger, hear) =>
      told<ResumeUpdate>("resume_conversation", { conversation, trigger }, hear, ({ kind }) =>
        ["ready", "not_yet", "stopped", "failed"].includes(kind),
      ),
    stopResume: (conversation) => ask("stop_resume", { conversation }),
    marks: (conversations) => ask("marks", { conversations }),
    outlook: (conversation) => ask("outlook", { conversation }),
    storage: () => ask("storage"),
    listSnapshots: (order, offset, limit) => ask("list_snapshots", { order, offset, limit }),
    setSnapshotBudget: (bytes) => ask("set_snapshot_budget", { bytes }),
    pinSnapshot: (id, pinned) => ask("pin_snapshot", { id, pinned }),
    dropSnapshot: (id) => ask("drop_snapshot", { id }),
    clearSnapshots: () => ask("clear_snapshots"),
    verifySnapshots: (hear) =>
      told<VerifyUpdate>("verify_snapshots", {}, hear, ({ kind }) => kind !== "progress"),
    stopVerify: () => ask("stop_verify"),
    showDataFolder: () => ask("show_data_folder"),
    qualifications: () => ask("qualifications"),
    qualify: () => ask("qualify"),
    saveDraft: (conversation, text) => ask("save_draft", { conversation, text }),
    countTokens: (text) => ask("count_tokens", { text }),
    pickModel: () => ask("pick_model"),
    chooseModel: (id) => ask("choose_model", { id }),
    forgetModel: (id) => ask("forget_model", { id }),
    saveSettings: (settings) => ask("save_settings", { settings }),
    copyText: (text) => ask("copy_text", { text }),
    openLink: (address) => ask("open_link", { address }),
  };
}
