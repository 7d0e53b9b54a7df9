// What was typed, as a setting: `null` is the default, `undefined` is no such number.

export function temperature(typed: string): number | null | undefined {
  const text = typed.trim().replace(",", ".");
  if (text === "") return null;
  const value = Number(text);
  return Number.isFinite(value) && value >= 0 && value <= 2 ? value : undefined;
}

export function contextSize(typed: string): number | null | undefined {
  const text = typed.trim().replace(/[\s,._']/gu, "");
  if (text === "") return null;
  const value = Number(text);
  return Number.isInteger(value) && value >= 256 && value <= 1_048_576 ? value : undefined;
}

/** Bytes of a size that was typed in GB. A comma before exactly three digits groups them, any other is a point. */
export function gigabytes(typed: string): number | undefined {
  const text = typed
    .trim()
    .replace(/\s*GB$/iu, "")
    .replace(/[\s_']|,(?=\d{3}(?:\D|$))/gu, "")
    .replace(",", ".");
  const value = Number(text);
  return text !== "" && Number.isFinite(value) && value >= 0 && value <= 1_000_000
    ? Math.round(value * 1e9)
    : undefined;
}
