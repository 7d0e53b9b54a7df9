import { PLAIN_PIECE } from "./limits";

/** Cuts a long text into pieces that can be laid out one by one, at the ends of lines where there are any. */
export function plainPieces(text: string): string[] {
  const pieces: string[] = [];
  let from = 0;
  while (text.length - from > PLAIN_PIECE) {
    const line = text.lastIndexOf("\n", from + PLAIN_PIECE - 1);
    let to = line >= from ? line + 1 : from + PLAIN_PIECE;
    // Two halves of one character stay together.
    if (/[\ud800-\udbff]/.test(text.charAt(to - 1))) to--;
    pieces.push(text.slice(from, to));
    from = to;
  }
  pieces.push(text.slice(from));
  return pieces;
}
