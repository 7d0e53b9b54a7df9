// What this app adds to the Markdown parser's own rules, and takes from them.

import type { MarkdownIt, StateBlock, StateInline } from "markdown-it";
import { MAX_BLOCK_DEPTH } from "./limits";

/** What the inline rules ask for beside link references, which the parser looks up itself. */
export interface NoteLookup {
  /** Whether a footnote of this mark is defined. */
  hasNote: (mark: string) => boolean;
}

const SPACE = 0x20;
const LINE_FEED = 0x0a;
/** A formula in running text is short; this bounds the search for its end. */
const LONGEST_TEX = 2_000;
const LONGEST_DOLLAR_TEX = 500;
const LONGEST_MARK = 100;

export function addRules(md: MarkdownIt): void {
  md.block.ruler.before("table", "deepest", deepest);
  md.block.ruler.before("fence", "tex", texBlock, { alt: ["paragraph", "reference", "blockquote", "list"] });
  md.block.ruler.before("reference", "footnote", footnote, { alt: ["paragraph", "reference"] });
  md.inline.ruler.before("escape", "tex", tex);
  md.inline.ruler.before("link", "note", note);
}

/** Below the deepest level containers are not opened any more: what would open one is text. */
function deepest(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  if (silent || state.level < MAX_BLOCK_DEPTH) return false;
  let line = startLine + 1;
  while (line < endLine && !state.isEmpty(line) && indent(state, line) >= state.blkIndent) line++;
  state.line = line;
  state.push("paragraph_open", "p", 1).map = [startLine, line];
  const text = state.push("inline", "", 0);
  text.content = state.getLines(startLine, line, state.blkIndent, false).trim();
  text.children = [];
  state.push("paragraph_close", "p", -1);
  return true;
}

/**
 * A displayed formula: from `$$` or `\[` at the start of a line to its counterpart at the end of one. In a
 * formula no underscore is emphasis and no plus sign a list. As in TeX, an empty
 * line ends it; so whether a block is a formula depends on nothing that comes after it.
 */
function texBlock(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  if (indent(state, startLine) - state.blkIndent >= 4) return false;
  const first = lineText(state, startLine).trim();
  const closing = first.startsWith("$$") ? "$$" : first.startsWith("\\[") ? "\\]" : null;
  if (closing === null || first.startsWith("$$$")) return false;
  const within = first.indexOf(closing, 2);
  // A formula followed by words is for the inline rule.
  if (within >= 0 && within !== first.length - 2) return false;
  if (silent) return true;
  let line = startLine + 1;
  if (within < 0) {
    while (line < endLine && !state.isEmpty(line) && indent(state, line) >= state.blkIndent) {
      line++;
      if (
        lineText(state, line - 1)
          .trimEnd()
          .endsWith(closing)
      )
        break;
    }
  }
  state.line = line;
  const token = state.push("tex", "", 0);
  token.map = [startLine, line];
  token.content = state.getLines(startLine, line, state.blkIndent, false).trimEnd();
  return true;
}

/**
 * A formula in running text. A dollar sign before a figure is money, as Pandoc has it, and one before a word the
 * beginning of a name: `$HOME/$USER` is no formula.
 */
function tex(state: StateInline, silent: boolean): boolean {
  const { src, pos, posMax } = state;
  const opening = src.slice(pos, pos + 2);
  let end = -1;
  if (opening === "$$") end = closingAt(src, "$$", pos + 2, Math.min(posMax, pos + LONGEST_TEX));
  else if (opening === "\\(") end = closingAt(src, "\\)", pos + 2, Math.min(posMax, pos + LONGEST_TEX));
  else if (opening === "\\[") end = closingAt(src, "\\]", pos + 2, Math.min(posMax, pos + LONGEST_TEX));
  else if (/^\$[^\s$]/.test(opening)) {
    const within = src.slice(pos, Math.min(posMax, pos + LONGEST_DOLLAR_TEX));
    const match = /^\$(?:[^\s$\\]|\\.|\s(?=[^$]))+\$(?!\w)/.exec(within);
    if (match) end = pos + match[0].length;
  }
  if (end < 0) return false;
  if (!silent) state.push("tex_inline", "", 0).content = src.slice(pos, end);
  state.pos = end;
  return true;
}

function closingAt(src: string, closing: string, from: number, to: number): number {
  const at = src.slice(from, to).indexOf(closing);
  return at <= 0 ? -1 : from + at + closing.length;
}

/** `[^mark]: text`, with everything indented below it. */
function footnote(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  if (indent(state, startLine) - state.blkIndent >= 4) return false;
  const text = lineText(state, startLine);
  const match = /^\[\^([^\s[\]]+)\]:[ \t]*/.exec(text);
  const mark = match?.[1];
  if (!match || mark === undefined || mark.length > LONGEST_MARK) return false;
  if (silent) return true;

  const open = state.push("footnote_open", "", 1);
  open.map = [startLine, startLine];
  open.meta = { mark };
  const { parentType, blkIndent } = state;
  const bMark = at(state.bMarks, startLine);
  const tShift = at(state.tShift, startLine);
  const sCount = at(state.sCount, startLine);
  const contentAt = bMark + tShift + match[0].length;
  state.bMarks[startLine] = contentAt;
  state.tShift[startLine] = 0;
  state.blkIndent = blkIndent + 4;
  state.sCount[startLine] = state.blkIndent;
  state.parentType = "root";
  state.md.block.tokenize(state, startLine, endLine);
  state.parentType = parentType;
  state.blkIndent = blkIndent;
  state.bMarks[startLine] = bMark;
  state.tShift[startLine] = tShift;
  state.sCount[startLine] = sCount;
  // A mark without text: nothing was read, yet the line is done with.
  if (state.line <= startLine) state.line = startLine + 1;
  open.map[1] = state.line;
  state.push("footnote_close", "", -1);
  return true;
}

function note(state: StateInline, silent: boolean): boolean {
  const { src, pos, posMax } = state;
  if (src.charCodeAt(pos) !== 0x5b || src.charCodeAt(pos + 1) !== 0x5e) return false;
  let end = pos + 2;
  for (; end < posMax && end - pos <= LONGEST_MARK + 2; end++) {
    const code = src.charCodeAt(end);
    if (code === 0x5d) break;
    if (code === SPACE || code === LINE_FEED || code === 0x5b || code === 0x09) return false;
  }
  if (src.charCodeAt(end) !== 0x5d || end === pos + 2 || end >= posMax) return false;
  const mark = src.slice(pos + 2, end);
  const lookup = state.env as Partial<NoteLookup>;
  if (!lookup.hasNote?.(mark)) return false;
  if (!silent) state.push("note", "", 0).content = mark;
  state.pos = end + 1;
  return true;
}

function indent(state: StateBlock, line: number): number {
  return at(state.sCount, line);
}

function lineText(state: StateBlock, line: number): string {
  return state.src.slice(at(state.bMarks, line) + at(state.tShift, line), at(state.eMarks, line));
}

function at(values: readonly number[], index: number): number {
  return values[index] ?? 0;
}
