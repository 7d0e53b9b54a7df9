// The fake behind the page, set by the page's address: `?conversations=10000&hold=reading&language=zh-CN`.

import type { Backend } from "../backend";
import type { Language } from "../generated/Language";
import type { SendKey } from "../generated/SendKey";
import type { Settings } from "../generated/Settings";
import type { Theme } from "../generated/Theme";
import { defaultPlay, engineDied, Fake, type Hold, type Play } from "./fake";

declare global {
  interface Window {
    /** The fake, for tests that drive the page. Not there in the app. */
    __fake?: Fake;
  }
}

const troubles: Record<string, Play["trouble"]> = {
  data_dir_busy: {
    code: "data_dir_busy",
    message:
      "The data folder ~/.local/share/reprise is in use by reprise-cli (process 4711). Only one program at a time can change it; your conversations are safe and can still be read.",
    remedy: "Close the other program, or choose another data folder.",
  },
};

function read(parameters: URLSearchParams): Partial<Play> {
  const number = (name: string, otherwise: number) => Number(parameters.get(name) ?? otherwise);
  const settings: Partial<Settings> = {};
  const theme = parameters.get("theme");
  if (theme !== null) settings.theme = theme as Theme;
  const language = parameters.get("language");
  if (language !== null) settings.language = language as Language;
  const sendKey = parameters.get("send_key");
  if (sendKey !== null) settings.send_key = sendKey as SendKey;
  settings.scale = number("scale", 100);
  settings.sidebar = parameters.get("sidebar") !== "0";
  const failing = parameters.get("failing");
  return {
    conversations: number("conversations", defaultPlay.conversations),
    messages: number("messages", defaultPlay.messages),
    models: number("models", defaultPlay.models),
    rate: number("rate", defaultPlay.rate),
    odd: parameters.has("odd"),
    states: parameters.has("states"),
    cold: parameters.has("cold"),
    interrupted: number("interrupted", 0),
    snapshots: number("snapshots", defaultPlay.snapshots),
    budget: parameters.has("budget") ? number("budget", 0) : null,
    damaged: number("damaged", 0),
    unusable: parameters.has("unusable"),
    tested: parameters.get("tested") !== "0",
    hold: parameters.get("hold") as Hold | null,
    answer: parameters.get("answer")?.repeat(number("times", 1)) ?? null,
    failAfter: parameters.has("fail_after") ? number("fail_after", 0) : null,
    trouble: troubles[parameters.get("trouble") ?? ""] ?? null,
    opening: parameters.get("opening"),
    replayMs: number("replay_ms", defaultPlay.replayMs),
    crossing: parameters.get("crossing") as Play["crossing"],
    unmeasured: parameters.has("unmeasured"),
    failing: failing === null ? {} : { [failing]: engineDied },
    settings,
  };
}

/** A fake app, as the address asks for it. */
export function connect(): Backend {
  const fake = new Fake(read(new URLSearchParams(location.search)));
  window.__fake = fake;
  return fake;
}
