import { IntlMessageFormat } from "intl-messageformat";
import { en } from "./en";
import type { Catalogue, Given, Key } from "./keys";
import { zhCN } from "./zh-CN";

export type Locale = "en" | "zh-CN";

const catalogues: Record<Locale, Catalogue> = { en, "zh-CN": zhCN };
let current = $state<Locale>("en");
const formats = new Map<string, IntlMessageFormat>();

/** The language of the window. */
export function locale(): Locale {
  return current;
}

/** Changes the language of everything on the screen. */
export function setLocale(next: Locale): void {
  current = next;
}

/** The language that suits somebody who prefers these, first choice first. */
export function pickLocale(preferred: readonly string[]): Locale {
  for (const one of preferred) {
    const language = one.toLowerCase();
    if (language.startsWith("zh")) return "zh-CN";
    if (language.startsWith("en")) return "en";
  }
  return "en";
}

/** A message in the window's language. Reading it in a component keeps it in step with the language. */
export function t<K extends Key>(key: K, ...given: Given<K>): string {
  const text = catalogues[current][key];
  const [values] = given;
  if (values === undefined) return text;
  const name = `${current} ${key}`;
  let format = formats.get(name);
  if (format === undefined) {
    format = new IntlMessageFormat(text, current, undefined, { ignoreTag: true });
    formats.set(name, format);
  }
  return String(format.format(values as Record<string, string | number>));
}
