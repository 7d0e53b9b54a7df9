// What untrusted text may cost. Above a limit the text is shown as it is, without formatting; none is ever dropped.
// Lengths are in UTF-16 code units.

/** A whole text above this, some 100,000 tokens, is shown plain. */
export const MAX_TEXT = 400_000;
/** A top-level block above this is shown plain, unless it is one code block. */
export const MAX_BLOCK = 100_000;
/** Markdown-it tokens of one top-level block: bounds the elements of a huge table or list. */
export const MAX_BLOCK_TOKENS = 30_000;
/** Top-level blocks; what follows the last one is shown plain. */
export const MAX_BLOCKS = 5_000;
/** One run of inline text: a paragraph, a heading, a cell. */
export const MAX_RUN = 20_000;
/** Opening brackets in a run: each may make the parser look for its end. */
export const MAX_RUN_BRACKETS = 1_000;
/** Markdown-it tokens that a run may become. */
export const MAX_RUN_TOKENS = 5_000;
/** Emphasis in emphasis. */
export const MAX_INLINE_DEPTH = 24;
/** Containers in containers; a list with its item counts as two. Deeper ones are read as paragraphs. */
export const MAX_BLOCK_DEPTH = 40;
/** A code block above this is not highlighted. */
export const MAX_HIGHLIGHT = 100_000;
/** A formula above this is shown as it was written. */
export const MAX_FORMULA = 2_000;
/** An address above this is no link. */
export const MAX_ADDRESS = 2_048;
/** Plain text is laid out in pieces of about this length: one endless line would hold up the layout. */
export const PLAIN_PIECE = 8_000;
/** An open block above this is not parsed again for each piece, but when it has grown by 1/256. */
export const LARGE_OPEN_BLOCK = 32_768;
