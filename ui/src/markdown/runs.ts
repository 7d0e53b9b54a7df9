// Inline runs: the text of a paragraph, a heading or a cell, from the parser's tokens to nodes.

import type { Token } from "markdown-it";
import { safeAddress, undisclosedHost } from "./addresses";
import { type Lookup, readRun } from "./grammar";
import { MAX_INLINE_DEPTH, MAX_RUN, MAX_RUN_BRACKETS, MAX_RUN_TOKENS } from "./limits";
import { type Inline, visibleText } from "./tree";

const WRAPPERS: Readonly<Record<string, "strong" | "emphasis" | "strike" | "link">> = {
  strong_open: "strong",
  em_open: "emphasis",
  s_open: "strike",
  link_open: "link",
};

interface Frame {
  readonly kind: "strong" | "emphasis" | "strike" | "link" | null;
  readonly address: string | null;
  readonly children: Inline[];
}

export function parseRun(content: string, lookup: Lookup): readonly Inline[] {
  if (content === "") return [];
  const plain: readonly Inline[] = [{ kind: "plain", text: content }];
  if (content.length > MAX_RUN || bracketsExceed(content)) return plain;
  const tokens = readRun(content, lookup);
  if (tokens.length > MAX_RUN_TOKENS) return plain;
  return toInline(tokens) ?? plain;
}

function bracketsExceed(content: string): boolean {
  let count = 0;
  for (let at = content.indexOf("["); at >= 0; at = content.indexOf("[", at + 1)) {
    if (++count > MAX_RUN_BRACKETS) return true;
  }
  return false;
}

/** `null` where emphasis is nested too deep. */
function toInline(tokens: readonly Token[]): readonly Inline[] | null {
  const root: Frame = { kind: null, address: null, children: [] };
  const stack = [root];
  let top = root;
  for (const token of tokens) {
    const wrapper = WRAPPERS[token.type];
    if (wrapper !== undefined) {
      if (stack.length > MAX_INLINE_DEPTH) return null;
      const address = wrapper === "link" ? safeAddress(String(token.attrGet("href") ?? "")) : null;
      top = { kind: wrapper, address, children: [] };
      stack.push(top);
    } else if (token.nesting === -1) {
      stack.pop();
      const closed = top;
      top = stack.at(-1) ?? root;
      top.children.push(...close(closed));
    } else {
      const node = leaf(token);
      if (node) top.children.push(node);
    }
  }
  return root.children;
}

function close({ kind, address, children }: Frame): readonly Inline[] {
  if (kind === null) return children;
  if (kind !== "link") return [{ kind, children }];
  // The parser asked for this address before it made a link of it; asked again, it must say the same.
  if (address === null) return children;
  const text = visibleText(children);
  // A link without words would be a trap for the pointer.
  if (text.trim() === "") return [{ kind, address, host: null, children: [{ kind: "text", text: address }] }];
  return [{ kind, address, host: undisclosedHost(text, address), children }];
}

function leaf(token: Token): Inline | null {
  switch (token.type) {
    case "text":
      return token.content === "" ? null : { kind: "text", text: token.content };
    case "code_inline":
      return { kind: "code", text: token.content };
    case "tex_inline":
      return { kind: "tex", text: token.content };
    case "softbreak":
    case "hardbreak":
      return { kind: "break" };
    case "note":
      return { kind: "note", mark: token.content };
    case "image": {
      const address = safeAddress(String(token.attrGet("src") ?? ""));
      const alt = visibleText(toInline(token.children ?? []) ?? [{ kind: "text", text: token.content }]);
      return address === null ? { kind: "text", text: alt } : { kind: "image", address, alt };
    }
    default:
      return { kind: "text", text: token.content };
  }
}

const LINE_BREAK = /<br\s*\/?>/i;

/** In a cell there is no other way to begin a new line than this one tag; it is the only one that is heeded. */
export function withLineBreaks(nodes: readonly Inline[]): readonly Inline[] {
  if (!nodes.some((node) => node.kind === "text" && LINE_BREAK.test(node.text))) return nodes;
  return nodes.flatMap((node) => {
    if (node.kind !== "text") return [node];
    return node.text.split(LINE_BREAK).flatMap((text, index): Inline[] => {
      const part: Inline[] = text === "" ? [] : [{ kind: "text", text }];
      return index === 0 ? part : [{ kind: "break" }, ...part];
    });
  });
}
