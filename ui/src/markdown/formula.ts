// Formulas. What typesets them is fetched when the first one is shown.

import { MAX_FORMULA } from "./limits";

const DELIMITERS = [
  ["$$", "$$", true],
  ["\\[", "\\]", true],
  ["\\(", "\\)", false],
  ["$", "$", false],
] as const;

/** What stands between a formula's delimiters, and whether it stands on its own; `null` while it is open. */
export function between(source: string): { tex: string; display: boolean } | null {
  const text = source.trim();
  for (const [opening, closing, display] of DELIMITERS) {
    const length = opening.length + closing.length;
    if (text.length <= length || !text.startsWith(opening) || !text.endsWith(closing)) continue;
    const tex = text.slice(opening.length, -closing.length);
    return tex.includes(closing) ? null : { tex, display };
  }
  return null;
}

/** A formula as MathML, or `null` where it stays as it was written. */
export async function typeset(source: string): Promise<Element | null> {
  const formula = source.length > MAX_FORMULA ? null : between(source);
  if (formula === null) return null;
  try {
    const { mathml } = await import("./mathml");
    return mathml(formula.tex, formula.display);
  } catch {
    // What it was written as can be read too.
    return null;
  }
}
