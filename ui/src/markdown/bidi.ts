// Control characters that reorder text can make code read otherwise than it runs (CVE-2021-42574).

const CONTROL = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

/** A stretch of code, or one control character by its name. */
export type Stretch =
  { readonly text: string; readonly control?: never } | { readonly control: string; readonly text?: never };

/** Splits code so that each such character can be shown instead of obeyed. */
export function showControls(code: string): Stretch[] {
  const stretches: Stretch[] = [];
  let rest = code;
  for (;;) {
    const at = rest.search(CONTROL);
    if (at < 0) break;
    if (at > 0) stretches.push({ text: rest.slice(0, at) });
    const point = rest.charCodeAt(at).toString(16).toUpperCase().padStart(4, "0");
    stretches.push({ control: `U+${point}` });
    rest = rest.slice(at + 1);
  }
  if (rest !== "") stretches.push({ text: rest });
  return stretches;
}
