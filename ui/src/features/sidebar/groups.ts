import type { ConversationRow } from "../../ipc/generated/ConversationRow";

/** A line of the list: the heading of a group, or a conversation. */
export type Line =
  | { kind: "heading"; key: string; label: string }
  | { kind: "row"; key: string; row: ConversationRow; at: number };

/** The words of the headings. */
export interface GroupWords {
  today: string;
  yesterday: string;
  last7Days: string;
  last30Days: string;
  month: (at: number) => string;
}

/** The list with a heading before each group of days. `rows` are newest first. */
export function byDate(rows: readonly ConversationRow[], now: number, words: GroupWords): Line[] {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const day = 86_400_000;
  const lines: Line[] = [];
  let last = "";
  let month = { from: Infinity, name: "" };
  for (const [at, row] of rows.entries()) {
    let label: string;
    if (row.updated >= midnight) label = words.today;
    else if (row.updated >= midnight - day) label = words.yesterday;
    else if (row.updated >= midnight - 7 * day) label = words.last7Days;
    else if (row.updated >= midnight - 30 * day) label = words.last30Days;
    else {
      // The name of a month is made once for all that lie in it.
      if (row.updated < month.from) {
        const date = new Date(row.updated);
        month = {
          from: new Date(date.getFullYear(), date.getMonth(), 1).getTime(),
          name: words.month(row.updated),
        };
      }
      label = month.name;
    }
    if (label !== last) lines.push({ kind: "heading", key: `heading ${label}`, label });
    last = label;
    lines.push({ kind: "row", key: row.id, row, at });
  }
  return lines;
}
