// The app behind the window. Nothing else speaks to Tauri.

import { Channel, invoke } from "@tauri-apps/api/core";
import type { Backend } from "./backend";
import { asAppError } from "./error";
import type { AppEvent } from "./generated/AppEvent";
import type { TurnUpdate } from "./generated/TurnUpdate";

async function ask<Answer>(command: string, given?: Record<string, unknown>): Promise<Answer> {
  try {
    return await invoke<Answer>(command, given);
  } catch (reason) {
    throw asAppError(reason);
  }
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
    search: (query, limit) => ask("search", { query, limit }),
    takeTurn: async (turn, hear) => {
      const channel = new Channel<TurnUpdate>();
      // A channel delivers in order, but not before the command's own answer: the last update ends the turn.
      const ended = new Promise<void>((resolve) => {
        channel.onmessage = (update) => {
          hear(update);
          if (update.kind === "done" || update.kind === "failed") resolve();
        };
      });
      await ask("take_turn", { ask: turn, hear: channel });
      await ended;
    },
    stopTurn: (conversation) => ask("stop_turn", { conversation }),
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
