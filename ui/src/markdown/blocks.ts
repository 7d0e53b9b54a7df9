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

/** A text whose lines can be found by their number. */
export class Source {
  #starts: number[] | null = null;

  /** `text` has line feeds alone for line endings. */
  constructor(readonly text: string) {}

  /** The lines from the first to before the last, without the empty ones at their end. */
  lines(from: number, to = Infinity): string {
    return this.text.slice(this.#start(from), this.#start(to)).replace(/\n+$/, "");
  }

  length(from: number, to: number): number {
    return this.#start(to) - this.#start(from);
  }

  /** The number of the last line that is not empty, and its text. */
  lastLine(): { number: number; text: string } {
    const starts = this.#lineStarts();
    let number = starts.length - 1;
    if (starts[number] === this.text.length && number > 0) number--;
    return { number, text: this.lines(number) };
  }

  #start(line: number): number {
    return this.#lineStarts()[line] ?? this.text.length;
  }

  #lineStarts(): number[] {
    if (this.#starts) return this.#starts;
    const starts = [0];
    for (let at = this.text.indexOf("\n"); at >= 0; at = this.text.indexOf("\n", at + 1)) starts.push(at + 1);
    return (this.#starts = starts);
  }
}

/** `mayGrow` says whether the source may go on where it ends. */
export function toBlock(group: Group, source: Source, mayGrow: boolean, parseRun: ParseRun): Block {
  const { tokens, startLine, endLine } = group;
  const isCode = tokens.length === 1 && tokens[0]?.type === "fence";
  const tooLong = !isCode && source.text.length > MAX_BLOCK && source.length(startLine, endLine) > MAX_BLOCK;
  if (!tooLong && tokens.length <= MAX_BLOCK_TOKENS) {
    const block = new Reader(tokens, mayGrow ? source : null, parseRun).blocks()[0];
    if (block) return block;
  }
  return { kind: "plain", text: source.lines(startLine, endLine) };
}

class Reader {
  #at = 0;

  constructor(
    readonly tokens: readonly Token[],
    /** The source, where it may go on. */
    readonly growing: Source | null,
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
    const last = map && this.growing?.lastLine();
    if (!last || map[1] <= last.number) return false;
    const fence = last.text.replace(/^[\s>]+/, "").trimEnd();
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
