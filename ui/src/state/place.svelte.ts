/** What fills the window beside the sidebar. */
export type View = "conversation" | "search" | "settings";
/** A page of the settings. */
export type SettingsPage = "general" | "hardware" | "storage";

/** Where the person is. */
export class Place {
  view = $state<View>("conversation");
  /** The page that the settings show. */
  page = $state<SettingsPage>("general");
  /** The conversation that is shown; `null` is a new one. */
  conversation = $state<string | null>(null);
  /** The message to bring into sight, once. */
  message = $state<string | null>(null);
  /** Counts wishes to see the end of what is shown. */
  ended = $state(0);
  /** Counts wishes to type, so that each one moves the focus. */
  composing = $state(0);
}
