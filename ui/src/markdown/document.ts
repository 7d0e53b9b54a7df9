// A Markdown text that may still grow.
//
// Markdown is read line by line, and once a top-level block has ended nothing that follows can change where it
// began or ended. So blocks that ended are frozen, and only what follows them is parsed again when text arrives.
// Three things need care:
//  - An unfinished line may still turn out to be something else ("#" a heading, "#1" a paragraph going on). What
//    is frozen is therefore decided on finished lines alone.
//  - A definition of a link reference may go on in the next line, and what follows it may become its title. Such
//    definitions stay open together with the block that directly follows them.
//  - A reference may be defined after it was used. Frozen blocks that asked for something undefined are kept track
//    of, and read again when it comes.

import type { Token } from "markdown-it";
import { type Group, groups, Source, toBlock } from "./blocks";
import { type Lookup, type Reference, readBlocks } from "./grammar";
import { LARGE_OPEN_BLOCK, MAX_BLOCKS, MAX_TEXT } from "./limits";
import { parseRun } from "./runs";
import { type Block, type Inline, share } from "./tree";

/** What is known of references and footnotes. */
interface Definitions {
  readonly references: Record<string, Reference>;
  readonly notes: Set<string>;
}

interface Run {
  readonly nodes: readonly Inline[];
  /** What it asked for, and what the answer was. */
  readonly asked: ReadonlyMap<string, string | undefined>;
}

export class MarkdownDocument {
  #text = "";
  #final = false;
  #blocks: readonly Block[] = [];

  #frozen: Block[] = [];
  /** Where in the text the part that is not frozen begins. */
  #start = 0;
  /** Where the finished lines ended when it was last asked what can be frozen. */
  #examined = 0;
  /** Of how many top-level blocks and definitions the open part was made when it was last read. */
  #openGroups = 0;
  /** How long the text was when it was last parsed. */
  #parsed = 0;
  #defined: Definitions = nothing();
  /** Frozen blocks by what they asked for in vain. */
  #waiting = new Map<string, Set<number>>();
  #waitingGroups = new Map<number, Group>();
  /** The runs of the open part, by their content. */
  #runs = new Map<string, Run>();

  /**
   * The blocks of `text`. Called with the same text and more behind it, it gives the same objects for all blocks
   * that did not change. `final` says that nothing more will come.
   */
  update(text: string, final: boolean): readonly Block[] {
    if (text === this.#text && final === this.#final) return this.#blocks;
    if (this.#final || !text.startsWith(this.#text)) this.#startOver();
    this.#text = text;
    this.#final = final;
    if (text.length > MAX_TEXT) return this.#publish([{ kind: "plain", text }]);

    const openLength = text.length - this.#start;
    const grown = text.length - this.#parsed;
    if (!final && openLength > LARGE_OPEN_BLOCK && grown < openLength / 256) return this.#blocks;
    this.#parsed = text.length;

    let open = this.#readOpen();
    // As long as one block is open, nothing has ended before it.
    if ((final || this.#openGroups > 1) && this.#freeze()) open = this.#readOpen();
    return this.#publish([...this.#frozen, ...open]);
  }

  #startOver(): void {
    this.#frozen = [];
    this.#start = 0;
    this.#examined = 0;
    this.#parsed = 0;
    this.#defined = nothing();
    this.#waiting.clear();
    this.#waitingGroups.clear();
    this.#runs.clear();
  }

  #publish(fresh: Block[]): readonly Block[] {
    this.#blocks = share(this.#blocks, fresh);
    return this.#blocks;
  }

  /** Moves the blocks that have ended from the open part to the frozen one, and says whether there were any. */
  #freeze(): boolean {
    const end = this.#final ? this.#text.length : endOfLines(this.#text);
    if ((!this.#final && end <= this.#examined) || this.#frozen.length >= MAX_BLOCKS) return false;
    this.#examined = end;
    const raw = this.#text.slice(this.#start, end);
    const source = new Source(normalise(raw));
    const { tokens, references } = readBlocks(source.text);
    const all = groups(tokens);
    let count = this.#final ? all.length : firstOpen(all);
    let line = count < all.length ? all[count]?.startLine : undefined;

    // What comes after the last permitted block is neither read nor searched for definitions.
    let room = MAX_BLOCKS - this.#frozen.length;
    const excess = all.findIndex((group) => !group.definition && room-- === 0);
    if (excess >= 0 && excess < count) {
      count = excess;
      line = all[excess]?.startLine;
    }
    if (count === 0) return false;

    const ended = all.slice(0, count);
    const news = this.#define(
      ended.flatMap((group) => group.tokens),
      references,
    );
    for (const group of ended) {
      if (!group.definition) this.#frozen.push(this.#readFrozen(group, source, this.#frozen.length));
    }
    this.#readAgain(news);
    this.#start += line === undefined ? raw.length : offsetOfLine(raw, line);
    return true;
  }

  /** Notes what these tokens define, and says which of it is new. */
  #define(tokens: readonly Token[], references: Readonly<Record<string, Reference>>): string[] {
    const news: string[] = [];
    for (const { label, mark } of definitions(tokens)) {
      const reference = label === undefined ? undefined : references[label];
      if (label !== undefined && reference && !(label in this.#defined.references)) {
        this.#defined.references[label] = reference;
        news.push(referenceKey(label));
      }
      if (mark !== undefined && !this.#defined.notes.has(mark)) {
        this.#defined.notes.add(mark);
        news.push(noteKey(mark));
      }
    }
    return news;
  }

  #readFrozen(group: Group, source: Source, index: number): Block {
    let waits = false;
    const block = toBlock(group, source, false, (content) => {
      const run = this.#run(content, this.#defined);
      for (const [key, answer] of run.asked) {
        if (answer !== undefined) continue;
        waits = true;
        const blocks = this.#waiting.get(key) ?? new Set();
        this.#waiting.set(key, blocks.add(index));
      }
      return run.nodes;
    });
    if (waits) this.#waitingGroups.set(index, group);
    return block;
  }

  /** Reads those frozen blocks again that had asked for one of these keys. */
  #readAgain(keys: readonly string[]): void {
    const indices = new Set(keys.flatMap((key) => [...(this.#waiting.get(key) ?? [])]));
    for (const key of keys) this.#waiting.delete(key);
    for (const index of indices) {
      const group = this.#waitingGroups.get(index);
      // A block that waits was short enough to be read, so its source is not asked for again.
      if (group)
        this.#frozen[index] = share(this.#frozen[index], this.#readFrozen(group, new Source(""), index));
    }
  }

  #readOpen(): Block[] {
    const source = new Source(normalise(this.#text.slice(this.#start)));
    if (source.text.trim() === "") return [];
    if (this.#frozen.length >= MAX_BLOCKS) return [{ kind: "plain", text: source.text.trim() }];
    const { tokens, references } = readBlocks(source.text);
    const defined: Definitions = {
      references: Object.assign(Object.create(null), references, this.#defined.references) as Record<
        string,
        Reference
      >,
      notes: new Set(this.#defined.notes),
    };
    for (const { mark } of definitions(tokens)) if (mark !== undefined) defined.notes.add(mark);

    const used = new Map<string, Run>();
    const all = groups(tokens);
    this.#openGroups = all.length;
    const shown = all.filter((group) => !group.definition);
    const room = MAX_BLOCKS - this.#frozen.length;
    const open = shown.slice(0, room).map((group) =>
      toBlock(group, source, !this.#final, (content) => {
        const run = this.#run(content, defined);
        used.set(content, run);
        return run.nodes;
      }),
    );
    const excess = shown[room];
    if (excess) open.push({ kind: "plain", text: source.lines(excess.startLine).trim() });
    this.#runs = used;
    return open;
  }

  #run(content: string, defined: Definitions): Run {
    const known = this.#runs.get(content);
    if (known && [...known.asked].every(([key, answer]) => find(key, defined) === answer)) return known;
    const asked = new Map<string, string | undefined>();
    const lookup: Lookup = {
      reference: (label) => {
        asked.set(referenceKey(label), find(referenceKey(label), defined));
        return defined.references[label];
      },
      note: (mark) => {
        asked.set(noteKey(mark), find(noteKey(mark), defined));
        return defined.notes.has(mark);
      },
    };
    return { nodes: parseRun(content, lookup), asked };
  }
}

function nothing(): Definitions {
  return { references: Object.create(null) as Record<string, Reference>, notes: new Set() };
}

function referenceKey(label: string): string {
  return `reference ${label}`;
}

function noteKey(mark: string): string {
  return `note ${mark}`;
}

function find(key: string, { references, notes }: Definitions): string | undefined {
  const space = key.indexOf(" ");
  const name = key.slice(space + 1);
  if (key.startsWith("note ")) return notes.has(name) ? name : undefined;
  return references[name]?.href;
}

function* definitions(tokens: readonly Token[]): Generator<{ label?: string; mark?: string }> {
  for (const token of tokens) {
    if (token.type === "reference_definition") yield { label: (token.meta as { label: string }).label };
    else if (token.type === "footnote_open") yield { mark: (token.meta as { mark: string }).mark };
  }
}

/** The first group that the next lines may still change. */
function firstOpen(all: readonly Group[]): number {
  let index = Math.max(0, all.length - 1);
  while (index > 0) {
    const before = all[index - 1];
    if (!before?.definition || before.endLine !== all[index]?.startLine) break;
    index--;
  }
  return index;
}

/** Where the last finished line ends. A carriage return at the very end may be half a line ending. */
function endOfLines(text: string): number {
  const carriageReturn = text.lastIndexOf("\r", text.length - 2);
  return Math.max(text.lastIndexOf("\n"), text.length > 1 ? carriageReturn : -1) + 1;
}

/** Where a line begins; any of the three line endings counts. */
function offsetOfLine(raw: string, line: number): number {
  const ending = /\r\n?|\n/g;
  for (let count = 0; count < line; count++) {
    if (ending.exec(raw) === null) return raw.length;
  }
  return ending.lastIndex;
}

function normalise(raw: string): string {
  return raw.replace(/\r\n?/g, "\n").replaceAll("\0", "\uFFFD");
}
