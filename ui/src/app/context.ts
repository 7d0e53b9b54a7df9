import { createContext } from "svelte";
import type { App } from "./app.svelte";

/** The app of this window, for every component below the root. */
export const [useApp, provideApp] = createContext<App>();
