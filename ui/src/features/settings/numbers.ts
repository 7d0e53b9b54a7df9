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
