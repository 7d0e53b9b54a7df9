/** Above this many rows only those in sight are in the page. */
export const ROWS = 48;
/** Rows beyond each edge of what is in sight. */
const beyond = 8;

/**
 * The rows of a list that are to be in the page, in their order: those in sight, some beyond, and `kept` ones, which
 * have the focus or are about to.
 */
export function inPage(top: number, height: number, row: number, total: number, kept: number[]): number[] {
  if (total <= ROWS) return Array.from({ length: total }, (_, at) => at);
  // Before the row is measured there is nothing to tell by.
  const from = row > 0 ? Math.floor(top / row) : 0;
  const to = row > 0 ? Math.ceil((top + height) / row) : 0;
  const first = Math.min(total, Math.max(0, from - beyond));
  const last = Math.min(total, to + beyond);
  const seen = Array.from({ length: Math.max(0, last - first) }, (_, at) => first + at);
  const others = kept.filter((at) => at >= 0 && at < total && (at < first || at >= last));
  return [...new Set([...others, ...seen])].toSorted((one, other) => one - other);
}
