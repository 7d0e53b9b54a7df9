// The Markdown parser as it is set up here: CommonMark with GFM's tables, strikethrough and bare addresses,
// footnotes, and formulas. HTML is no part of the grammar, so it is text like any other.

import MarkdownIt, { type Token } from "markdown-it";
import { safeAddress } from "./addresses";
import { addRules } from "./rules";

export type Reference = { title: string; href: string };

/** The blocks of a text, and what it defines. */
export interface Outline {
  readonly tokens: readonly Token[];
  /** Link references by label; the first definition of each. */
  readonly references: Readonly<Record<string, Reference>>;
}

/** Answers what an inline run refers to. Each question is noted by whoever gave it. */
export interface Lookup {
  reference: (label: string) => Reference | undefined;
  note: (mark: string) => boolean;
}

/**
 * A token as the parser's own, made faster: theirs defines each property by a call, which took half the time of
 * reading the blocks of a long text.
 */
class BlockToken {
  attrs = null;
  map = null;
  level = 0;
  children = null;
  content = "";
  markup = "";
  info = "";
  meta = null;
  block = true;
  hidden = false;
  constructor(
    readonly type: string,
    readonly tag: string,
    readonly nesting: number,
  ) {}
}
Object.setPrototypeOf(BlockToken.prototype, MarkdownIt.Token.prototype);

class BlockState extends MarkdownIt.StateBlock {
  override push(type: string, tag: string, nesting: -1 | 0 | 1): Token {
    const token = new BlockToken(type, tag, nesting) as unknown as Token;
    if (nesting < 0) this.level--;
    token.level = this.level;
    if (nesting > 0) this.level++;
    this.tokens.push(token);
    return token;
  }
}

const md = new MarkdownIt("default", { html: false, linkify: true, typographer: false });
md.block.State = BlockState;
addRules(md);
md.validateLink = (address) => safeAddress(address) !== null;
// What is seen stays what was written, letters of other scripts and percent signs included.
md.normalizeLinkText = (address) => address;
md.linkify
  .set({ fuzzyLink: false, fuzzyEmail: true, fuzzyIP: false })
  .add("ftp:", null)
  .add("//", null)
  .add("www.", {
    validate: (text, position) => {
      const rest = /^[^\s<>*_~`"'()[\]{}|\\]+/.exec(text.slice(position, position + 2_000))?.[0] ?? "";
      const address = rest.replace(/[?!.,:;]+$/, "");
      return /^[\p{L}\p{N}-]+\.[\p{L}\p{N}]/u.test(address) ? address.length : 0;
    },
    normalize: (match) => {
      match.url = `http://${match.url}`;
    },
  });

/** Reads the blocks. What is in them stays unread; see `readRun`. */
export function readBlocks(source: string): Outline {
  const tokens: Token[] = [];
  const references = Object.create(null) as Record<string, Reference>;
  md.block.parse(source, md, { references }, tokens);
  return { tokens, references };
}

/** Reads one inline run. */
export function readRun(content: string, lookup: Lookup): readonly Token[] {
  const references = new Proxy<Record<string, Reference>>(Object.create(null) as Record<string, Reference>, {
    get: (_, label) => (typeof label === "string" ? lookup.reference(label) : undefined),
  });
  return md.parseInline(content, { references, hasNote: lookup.note })[0]?.children ?? [];
}
