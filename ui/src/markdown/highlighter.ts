import hljs from "highlight.js/lib/core";
import type { LanguageFn } from "highlight.js";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cmake from "highlight.js/lib/languages/cmake";
import cpp from "highlight.js/lib/languages/cpp";
import csharp from "highlight.js/lib/languages/csharp";
import css from "highlight.js/lib/languages/css";
import dart from "highlight.js/lib/languages/dart";
import diff from "highlight.js/lib/languages/diff";
import dockerfile from "highlight.js/lib/languages/dockerfile";
import elixir from "highlight.js/lib/languages/elixir";
import go from "highlight.js/lib/languages/go";
import haskell from "highlight.js/lib/languages/haskell";
import ini from "highlight.js/lib/languages/ini";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import julia from "highlight.js/lib/languages/julia";
import kotlin from "highlight.js/lib/languages/kotlin";
import latex from "highlight.js/lib/languages/latex";
import lua from "highlight.js/lib/languages/lua";
import makefile from "highlight.js/lib/languages/makefile";
import markdown from "highlight.js/lib/languages/markdown";
import nginx from "highlight.js/lib/languages/nginx";
import objectivec from "highlight.js/lib/languages/objectivec";
import perl from "highlight.js/lib/languages/perl";
import php from "highlight.js/lib/languages/php";
import powershell from "highlight.js/lib/languages/powershell";
import python from "highlight.js/lib/languages/python";
import r from "highlight.js/lib/languages/r";
import ruby from "highlight.js/lib/languages/ruby";
import rust from "highlight.js/lib/languages/rust";
import scala from "highlight.js/lib/languages/scala";
import shell from "highlight.js/lib/languages/shell";
import sql from "highlight.js/lib/languages/sql";
import swift from "highlight.js/lib/languages/swift";
import typescript from "highlight.js/lib/languages/typescript";
import vbnet from "highlight.js/lib/languages/vbnet";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import type { Kind, Piece } from "./highlight";

const languages: Record<string, LanguageFn> = {
  bash,
  c,
  cmake,
  cpp,
  csharp,
  css,
  dart,
  diff,
  dockerfile,
  elixir,
  go,
  haskell,
  ini,
  java,
  javascript,
  json,
  julia,
  kotlin,
  latex,
  lua,
  makefile,
  markdown,
  nginx,
  objectivec,
  perl,
  php,
  powershell,
  python,
  r,
  ruby,
  rust,
  scala,
  shell,
  sql,
  swift,
  typescript,
  vbnet,
  xml,
  yaml,
};
for (const [name, language] of Object.entries(languages)) hljs.registerLanguage(name, language);

const KINDS: readonly (readonly [Kind, readonly string[]])[] = [
  ["k", ["keyword", "literal", "selector-tag", "selector-class", "selector-id", "name", "meta", "section"]],
  ["s", ["string", "regexp", "char", "addition", "code"]],
  ["n", ["number", "symbol", "bullet", "link", "deletion"]],
  ["f", ["title", "built_in", "type", "attr", "attribute", "property"]],
  ["c", ["comment", "quote", "doctag"]],
];
const KIND_OF = new Map(KINDS.flatMap(([kind, scopes]) => scopes.map((scope) => [scope, kind] as const)));
const CHARACTERS: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'" };
const MARKUP = /<span class="hljs-([^"]*)">|<span class="[^"]*">|<\/span>|&(amp|lt|gt|quot|#x27);/g;

/** The code in pieces, or `null` where its language is not known. */
export function paint(code: string, language: string): Piece[] | null {
  if (!hljs.getLanguage(language)) return null;
  const markup = hljs.highlight(code, { language, ignoreIllegals: true }).value;
  const pieces = read(markup);
  // The pieces are read from markup; whatever else may happen there, the code stays what it is.
  return pieces.map(({ text }) => text).join("") === code ? pieces : null;
}

function read(markup: string): Piece[] {
  const pieces: Piece[] = [];
  const kinds: (Kind | null)[] = [];
  let text = "";
  let from = 0;
  const flush = () => {
    if (text !== "") pieces.push({ text, kind: kinds.at(-1) ?? null });
    text = "";
  };
  for (const match of markup.matchAll(MARKUP)) {
    text += markup.slice(from, match.index);
    from = match.index + match[0].length;
    const [whole, scopes, character] = match;
    if (character !== undefined) {
      text += CHARACTERS[character] ?? whole;
      continue;
    }
    flush();
    if (whole === "</span>") kinds.pop();
    else kinds.push(kindOf(scopes));
  }
  text += markup.slice(from);
  flush();
  return pieces;
}

/** Of "title function_" the first word decides. */
function kindOf(scopes: string | undefined): Kind | null {
  return KIND_OF.get(scopes?.split(" ", 1)[0] ?? "") ?? null;
}
