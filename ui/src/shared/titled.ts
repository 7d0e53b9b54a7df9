const most = 500;

/** A title as one line of plain text of a length that a line can hold. It may hold anything. */
export function titled(title: string): string {
  const line = title
    .slice(0, most)
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim();
  return title.length > most ? `${line}…` : line;
}
