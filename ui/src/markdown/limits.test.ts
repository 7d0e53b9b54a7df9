import { describe, expect, it } from "vitest";
import { MarkdownDocument } from "./document";
import { MAX_ADDRESS, MAX_BLOCK, MAX_BLOCKS, MAX_HIGHLIGHT, MAX_TEXT, PLAIN_PIECE } from "./limits";
import { show } from "./markdown.test-env";
import { plainPieces } from "./plain";
import type { Block } from "./tree";

const parse = (text: string) => new MarkdownDocument().update(text, true);
const kinds = (blocks: readonly Block[]) => blocks.map(({ kind }) => kind);

/** All text of a tree, wherever it stands. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(textOf).join("");
  if (typeof value !== "object" || value === null) return "";
  return Object.entries(value)
    .map(([key, part]) => (key === "text" || key === "alt" || key === "mark" ? String(part) : textOf(part)))
    .join("");
}

function depth(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depth));
}

describe("a limit", () => {
  it("leaves a text above its length plain, and whole", () => {
    const paragraph = `*it* ${"word ".repeat(200)}\n\n`;
    const text = paragraph.repeat(MAX_TEXT / paragraph.length + 1);
    expect(parse(text)).toEqual([{ kind: "plain", text }]);
    expect(kinds(parse(paragraph.repeat(2)))).toEqual(["paragraph", "paragraph"]);
  });

  it("leaves one endless line plain, and lays it out in pieces", () => {
    const text = "x".repeat(MAX_TEXT + 1);
    const pieces = plainPieces(text);
    expect(pieces.join("")).toBe(text);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(PLAIN_PIECE);
    expect(show(text).root.querySelectorAll(".plain").length).toBe(pieces.length);
  });

  it("leaves a long block plain and goes on after it, but not a long code block", () => {
    const rows = "| a | b |\n".repeat(MAX_BLOCK / 10 + 1);
    const blocks = parse(`before\n\n| a | b |\n| - | - |\n${rows}\n\nafter *it*`);
    expect(kinds(blocks)).toEqual(["paragraph", "plain", "paragraph"]);
    expect(textOf(blocks).split("| a | b |").length - 1).toBe(MAX_BLOCK / 10 + 2);
    expect(kinds(parse(`\`\`\`\n${"line\n".repeat(MAX_BLOCK / 4)}\`\`\`\n`))).toEqual(["code"]);
  });

  it("leaves a long block of few parts plain", () => {
    const quoted = `> ${"word ".repeat(2_000)}\n>\n`;
    expect(kinds(parse(`${quoted.repeat(MAX_BLOCK / quoted.length + 1)}\nafter`))).toEqual([
      "plain",
      "paragraph",
    ]);
    expect(kinds(parse(`${quoted.repeat(2)}\nafter`))).toEqual(["quote", "paragraph"]);
  });

  it("leaves a table of too many cells plain", () => {
    const row = `${"|a".repeat(20)}|\n`;
    const table = (rows: number) => `${row}${"|-".repeat(20)}|\n${row.repeat(rows)}`;
    expect(kinds(parse(table(400)))).toEqual(["table"]);
    expect(kinds(parse(table(1_000)))).toEqual(["plain"]);
  });

  it("shows what follows too many blocks as plain text, streamed or not", () => {
    const text = `${"a\n\n".repeat(MAX_BLOCKS)}*rest*\n\n[x]\n\n[x]: https://x.example\n`;
    const whole = parse(text);
    expect(whole.length).toBe(MAX_BLOCKS + 1);
    expect(whole.at(-1)).toEqual({ kind: "plain", text: "*rest*\n\n[x]\n\n[x]: https://x.example" });
    const document = new MarkdownDocument();
    for (let length = 7_000; length < text.length; length += 997)
      document.update(text.slice(0, length), false);
    expect(document.update(text, true)).toEqual(whole);
  });

  it.each([
    ["quotes in quotes", `${">".repeat(10_000)} deep`],
    ["quotes in quotes, spaced", `${"> ".repeat(10_000)}deep`],
    ["lists in lists", `${"- ".repeat(10_000)}deep`],
    [
      "lists under lists",
      Array.from({ length: 300 }, (_, level) => `${"  ".repeat(level)}- deep`).join("\n"),
    ],
    ["footnotes in quotes", `${"> [^a]: ".repeat(2_000)}deep`],
    ["emphasis in emphasis", `${"*a **b ".repeat(300)}deep${"** c*".repeat(300)}`],
    ["emphasis of all kinds", `${"*a_".repeat(10_000)}deep`],
    ["strikethrough", `${"~~a ".repeat(500)}deep${" b~~".repeat(500)}`],
    ["images in images", `${"![".repeat(10_000)}deep${"](https://x.example)".repeat(10_000)}`],
    ["images in images, few", `${"![".repeat(900)}deep${"](x)".repeat(900)}`],
  ])("keeps the tree shallow and the text whole: %s", (_, text) => {
    const blocks = parse(text);
    expect(depth(blocks)).toBeLessThan(200);
    expect(textOf(blocks)).toContain("deep");
    show(text).unmount();
  });

  it("keeps what stands deeper than it goes, and what comes after", () => {
    const blocks = parse(`${"> ".repeat(100)}deep *one*\n\nafter *it*`);
    expect(textOf(blocks).match(/>/g)?.length).toBe(60);
    expect(kinds(blocks)).toEqual(["quote", "paragraph"]);
    expect(textOf(parse(`${"- ".repeat(100)}deep\n\n  a\n\nafter`))).toMatch(/deep.*after$/s);
  });

  it("leaves a run of too many brackets plain", () => {
    const brackets = (count: number) => `*a* ${"[".repeat(count)}`;
    expect(textOf(parse(brackets(10_000)))).toBe(brackets(10_000));
    expect(textOf(parse(brackets(500)))).toBe(brackets(500).replaceAll("*", ""));
  });

  it("makes no link of an endless address", () => {
    const address = (length: number) => `https://x.example/${"a".repeat(length)}`;
    const links = (text: string) => JSON.stringify(parse(text)).split('"kind":"link"').length - 1;
    expect([links(address(100)), links(address(MAX_ADDRESS))]).toEqual([1, 0]);
    expect(textOf(parse(address(MAX_ADDRESS)))).toBe(address(MAX_ADDRESS));
  });

  it("leaves long code in one colour", async () => {
    const { highlight } = await import("./highlight");
    const line = "let a = 1;\n";
    expect(await highlight(line.repeat(MAX_HIGHLIGHT / line.length + 1), "rust")).toBeNull();
    expect(await highlight(line, "rust")).toContainEqual({ text: "let", kind: "k" });
    expect(await highlight(line, "no such language")).toBeNull();
  });
});
