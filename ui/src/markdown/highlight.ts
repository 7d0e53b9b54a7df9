// Colours for code. The highlighter with its languages is fetched when the first finished block asks for it.

import { MAX_HIGHLIGHT } from "./limits";

/** What a stretch of code is: keyword, string, number, function or type, comment, or nothing special. */
export type Kind = "k" | "s" | "n" | "f" | "c";

export interface Piece {
  readonly text: string;
  readonly kind: Kind | null;
}

const NO_LANGUAGE = new Set(["", "text", "txt", "plain", "plaintext", "output", "none"]);

/** The code in pieces, or `null` where it stays plain. */
export async function highlight(code: string, language: string): Promise<Piece[] | null> {
  if (code.length > MAX_HIGHLIGHT || NO_LANGUAGE.has(language)) return null;
  try {
    const { paint } = await import("./highlighter");
    return paint(code, language);
  } catch {
    // Without the highlighter code is still code.
    return null;
  }
}
