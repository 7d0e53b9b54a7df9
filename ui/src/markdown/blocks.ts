// From the parser's block tokens to nodes.

import type { Token } from "markdown-it";
import { MAX_BLOCK, MAX_BLOCK_TOKENS } from "./limits";
import { withLineBreaks } from "./runs";
import { type Align, type Block, type Inline, type Item, visibleText } from "./tree";

/** The tokens of one top-level block, and the lines that they came from. */
export interface Group {
  readonly tokens: readonly Token[];
  readonly startLine: number;
  /** The line after its last one. */
  readonly endLine: number;
  /** A link reference definition, which shows nothing. */
  readonly definition: boolean;
}

export type ParseRun = (content: string) => readonly Inline[];

export function groups(tokens: readonly Token[]): Group[] {
  const found: Group[] = [];
  let depth = 0;
  let from = 0;
  tokens.forEach((token, index) => {
    depth += token.nesting;
    if (depth > 0) return;
    const first = tokens[from];
    const [startLine, endLine] = first?.map ?? [0, 0];
    const definition = token.type === "reference_definition";
    found.push({ tokens: tokens.slice(from, index + 1), startLine, endLine, definition });
    from = index + 1;
  });
  return found;
}

/** `source` is the text that the group's lines count in; `mayGrow`, whether it is the end of a text that goes on. */
export function toBlock(group: Group, source: string, mayGrow: boolean, parseRun: ParseRun): Block {
  const isCode = group.tokens.length === 1 && group.tokens[0]?.type === "fence";
  const tooLong = !isCode && source.length > MAX_BLOCK && linesOf(source, group).length > MAX_BLOCK;
  if (tooLong || group.tokens.length > MAX_BLOCK_TOKENS)
    return { kind: "plain", text: linesOf(source, group) };
  const lastLine = mayGrow ? lastLineOf(source) : null;
  return (
    new Reader(group.tokens, lastLine, parseRun).blocks()[0] ?? {
      kind: "plain",
      text: linesOf(source, group),
    }
  );
}

export function linesOf(
  source: string,
  { startLine, endLine }: Pick<Group, "startLine" | "endLine">,
): string {
  return source.slice(offsetOfLine(source, startLine), offsetOfLine(source, endLine)).replace(/\n+$/, "");
}

/** Where a line begins; any of the three line endings counts. */
export function offsetOfLine(source: string, line: number): number {
  const ending = /\r\n?|\n/g;
  for (let count = 0; count < line; count++) {
    if (ending.exec(source) === null) return source.length;
  }
  return ending.lastIndex;
}

interface LastLine {
  readonly number: number;
  readonly text: string;
}

function lastLineOf(source: string): LastLine {
  const text = source.endsWith("\n") ? source.slice(0, -1) : source;
  return { number: text.split("\n").length - 1, text: text.slice(text.lastIndexOf("\n") + 1) };
}

class Reader {
  #at = 0;

  constructor(
    readonly tokens: readonly Token[],
    readonly lastLine: LastLine | null,
    readonly parseRun: ParseRun,
  ) {}

  /** Reads until the container that it stands in ends. */
  blocks(): Block[] {
    const read: Block[] = [];
    for (let token = this.#next(); token && token.nesting >= 0; token = this.#next()) {
      const block = this.#block(token);
      if (block) read.push(block);
    }
    return read;
  }

  #next(): Token | undefined {
    return this.tokens[this.#at++];
  }

  #block(token: Token): Block | null {
    switch (token.type) {
      case "paragraph_open":
        return { kind: "paragraph", tight: token.hidden, children: this.#run() };
      case "heading_open":
        return { kind: "heading", level: headingLevel(token.tag), children: this.#run() };
      case "fence":
        return {
          kind: "code",
          info: token.info.trim(),
          text: token.content.replace(/\n$/, ""),
          open: this.#isOpen(token),
        };
      case "code_block":
        return { kind: "code", info: "", text: token.content.replace(/\n+$/, ""), open: false };
      case "tex":
        return { kind: "tex", text: token.content };
      case "hr":
        return { kind: "rule" };
      case "blockquote_open":
        return { kind: "quote", children: this.blocks() };
      case "bullet_list_open":
        return { kind: "list", start: null, items: this.#items() };
      case "ordered_list_open":
        return { kind: "list", start: Number(token.attrGet("start") ?? 1), items: this.#items() };
      case "footnote_open":
        return { kind: "footnote", mark: (token.meta as { mark: string }).mark, children: this.blocks() };
      case "table_open":
        return this.#table();
      case "reference_definition":
        return null;
      default:
        throw new Error(`The Markdown parser gave a token that is not known here: ${token.type}`);
    }
  }

  /** The inline content of a paragraph, heading or cell, and its end. */
  #run(): readonly Inline[] {
    const content = this.#next();
    this.#next();
    return this.parseRun(content?.content ?? "");
  }

  #items(): Item[] {
    const items: Item[] = [];
    for (let token = this.#next(); token?.type === "list_item_open"; token = this.#next()) {
      items.push(toItem(this.blocks()));
    }
    return items;
  }

  #table(): Block {
    const head: (readonly Inline[])[] = [];
    const align: Align[] = [];
    const rows: (readonly Inline[])[][] = [];
    for (let token = this.#next(); token && token.type !== "table_close"; token = this.#next()) {
      if (token.type === "tr_open" && head.length > 0) rows.push([]);
      if (token.type === "th_open") {
        align.push(alignOf(token));
        head.push(withLineBreaks(this.#run()));
      } else if (token.type === "td_open") rows.at(-1)?.push(withLineBreaks(this.#run()));
    }
    return { kind: "table", align, head, rows };
  }

  /** A fence at the end of a text that goes on, whose closing fence has not come. */
  #isOpen({ map, markup }: Token): boolean {
    if (!this.lastLine || !map || map[1] <= this.lastLine.number) return false;
    const fence = this.lastLine.text.replace(/^[\s>]+/, "").trimEnd();
    const isClosing = fence.startsWith(markup) && [...fence].every((character) => character === markup[0]);
    return !isClosing || map[1] - map[0] < 2;
  }
}

/** The turn that an answer stands in has a heading of level 2. */
function headingLevel(tag: string): number {
  return Math.min(6, Number(tag.slice(1)) + 2);
}

function alignOf(token: Token): Align {
  const found = /(left|center|right)$/.exec(String(token.attrGet("style") ?? ""))?.[1];
  return (found as Align | undefined) ?? null;
}

const TASK = /^\[([ xX])\](?:\s+|$)/;

function toItem(children: Block[]): Item {
  const first = children[0];
  if (first?.kind !== "paragraph") return { done: null, name: "", children };
  const [text, ...rest] = first.children;
  const task = text?.kind === "text" ? TASK.exec(text.text) : null;
  if (!task || text?.kind !== "text") return { done: null, name: "", children };
  const words = text.text.slice(task[0].length);
  const run: Inline[] = words === "" ? rest : [{ kind: "text", text: words }, ...rest];
  return {
    done: task[1] !== " ",
    name: visibleText(run),
    children: [{ ...first, children: run }, ...children.slice(1)],
  };
}
