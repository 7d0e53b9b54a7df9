// What of the settings the whole page shows: theme, language, size.

import { type Locale, pickLocale, setLocale } from "./i18n/translate.svelte";

/** Whether the system asks for a dark theme; kept up to date. */
class SystemTheme {
  dark = $state(false);

  constructor() {
    const query = matchMedia("(prefers-color-scheme: dark)");
    this.dark = query.matches;
    query.addEventListener("change", () => (this.dark = query.matches));
  }
}

let system: SystemTheme | null = null;

/** Puts theme, language and size on the page. Call it in an effect. */
export function appear(chosen: {
  theme: "system" | "light" | "dark";
  language: "system" | Locale;
  scale: number;
}): void {
  system ??= new SystemTheme();
  const page = document.documentElement;
  page.dataset["theme"] = chosen.theme === "system" ? (system.dark ? "dark" : "light") : chosen.theme;
  const language = chosen.language === "system" ? pickLocale(navigator.languages) : chosen.language;
  page.lang = language;
  setLocale(language);
  page.style.fontSize = `${(16 * chosen.scale) / 100}px`;
}
