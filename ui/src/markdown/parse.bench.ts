// What parsing costs, printed and not judged: `npx vitest bench src/markdown`.

import { bench, describe } from "vitest";
import { MarkdownDocument } from "./document";
import { texts } from "./growing.test-texts";
import { paint } from "./highlighter";

const once = { iterations: 3, time: 0, warmupIterations: 1, warmupTime: 0 };

function whole(text: string) {
  new MarkdownDocument().update(text, true);
}

/** As an answer comes: about 4 characters a token, 200 tokens a second, shown 25 times a second. */
function streamed(text: string) {
  const document = new MarkdownDocument();
  for (let length = 32; length < text.length; length += 32) document.update(text.slice(0, length), false);
  document.update(text, true);
}

function ofLength(length: number, part: string): string {
  return part.repeat(Math.ceil(length / part.length)).slice(0, length);
}

const mixed = ofLength(50_000, `${texts.filter((text) => !/unclosed|<script>/.test(text)).join("\n\n")}\n\n`);
const list = ofLength(
  50_000,
  "- An item of a list with **strong** words, `code` and [a link](https://a.example).\n  - below it\n",
);
const code = ofLength(50_000, "let answer = compute(41) + 1; // and so on\n");
const rows = ofLength(50_000, "| a cell | **another** | `third` |\n");

describe("an answer of 50 kB, whole", () => {
  bench("mixed", () => whole(mixed), once);
  bench("one list", () => whole(list), once);
  bench("one code block", () => whole(`\`\`\`rust\n${code}`), once);
  bench("one table", () => whole(`| a | b | c |\n|---|---|---|\n${rows}`), once);
});

describe("an answer of 50 kB, streamed in 1,560 pieces", () => {
  bench("mixed", () => streamed(mixed), once);
  bench("one list", () => streamed(list), once);
  bench("one code block", () => streamed(`\`\`\`rust\n${code}`), once);
  bench("one table", () => streamed(`| a | b | c |\n|---|---|---|\n${rows}`), once);
});

describe("texts made to be slow", () => {
  const hostile: Record<string, string> = {
    "10,000 [": "[".repeat(10_000),
    "1,000 [": "[".repeat(1_000),
    "1,000 ![": "![".repeat(1_000),
    "1,000 [a](": "[a](".repeat(1_000),
    "10,000 *a_": "*a_".repeat(10_000),
    "6,000 *a_": "*a_".repeat(6_000),
    "2,800 *a **a": "*a **a ".repeat(2_800),
    "quotes 10,000 deep": `${">".repeat(10_000)}a`,
    "lists 10,000 deep": `${"- ".repeat(10_000)}a`,
    "1,000 quoted lines, ever deeper": Array.from({ length: 1_000 }, (_, n) => ">".repeat(n)).join("\n"),
    "codes that do not close": ofLength(19_000, "`a ``b ```c "),
    "20,000 <": "<".repeat(20_000),
    "6,000 dollars": "$a ".repeat(6_000),
    "9,000 &": "&a".repeat(9_000),
    "4,000 www.": "www.a".repeat(4_000),
    "2,400 http://": "http://a".repeat(2_400),
    "9,000 a@": "a@".repeat(9_000),
    "2,000 mailto:": "mailto:a.".repeat(2_000),
    "9,000 a.a": `${"a.".repeat(9_000)}@`,
    "footnote marks": "[^a]".repeat(1_000),
    definitions: "[a]: https://a.example\n".repeat(20_000),
    "definitions without an end": `[a]: https://a.example "${"b\n".repeat(50_000)}`,
    "labels without an end": "[a\n".repeat(50_000),
    "late references": `${"[a] [b] [c]\n\n".repeat(4_000)}[a]: https://a.example\n`,
    "a table of 400 kB": ofLength(399_000, "|a|b|\n|-|-|\n|c|d|\n|e|f|\n"),
    "one line of 400 kB": "*a* ".repeat(99_000),
    "400 kB of headings": "# a\n".repeat(99_000),
    "400 kB of fences": "```\na\n```\n".repeat(39_000),
    "400 kB of bullets": "- a\n".repeat(99_000),
    "400 kB of empty lines": "\n".repeat(399_000),
    "400 kB of carriage returns": "\r".repeat(399_000),
  };
  for (const [name, text] of Object.entries(hostile)) bench(name, () => whole(text), once);
});

describe("highlighting 100 kB", () => {
  for (const language of ["rust", "javascript", "python", "xml", "cpp", "markdown"]) {
    bench(language, () => void paint(ofLength(99_000, code), language), once);
  }
});
