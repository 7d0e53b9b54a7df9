// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

import type { AppError } from "./AppError";
import type { AppInfo } from "./AppInfo";
import type { ConversationPage } from "./ConversationPage";
import type { EngineView } from "./EngineView";
import type { ModelRow } from "./ModelRow";
import type { Settings } from "./Settings";

/**
 * All that the window needs to show itself, in one answer.
 */
export type Startup = {
/**
 * What the app is.
 */
info: AppInfo,
/**
 * What the person chose.
 */
settings: Settings,
/**
 * The beginning of the list of conversations.
 */
conversations: ConversationPage,
/**
 * Models that are known, the one used last first.
 */
models: Array<ModelRow>,
/**
 * The engine.
 */
engine: EngineView,
/**
 * What was typed for a new conversation and not sent.
 */
draft: string,
/**
 * What the person should know at once: the library could not be opened, say. Then there are no
 * conversations, and nothing can be sent.
 */
trouble: AppError | null,
/**
 * Answers that were being written when the app last ended; they are marked interrupted.
 */
interrupted: number, };
