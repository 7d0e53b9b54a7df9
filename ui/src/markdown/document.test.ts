import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { groups, Source, toBlock } from "./blocks";
import { MarkdownDocument } from "./document";
import { readBlocks } from "./grammar";
import { texts } from "./growing.test-texts";
import { parseRun } from "./runs";
import type { Block } from "./tree";

/** Parses a text in one piece, without the document's bookkeeping: what every way of streaming must come to. */
function whole(text: string): Block[] {
  const source = text.replace(/\r\n?/g, "\n").replaceAll("\0", "\uFFFD");
  const { tokens, references } = readBlocks(source);
  const marks = new Set(
    tokens.filter(({ type }) => type === "footnote_open").map(({ meta }) => (meta as { mark: string }).mark),
  );
  const lookup = {
    reference: (label: string) => references[label],
    note: (mark: string) => marks.has(mark),
  };
  return groups(tokens)
    .filter(({ definition }) => !definition)
    .map((group) => toBlock(group, new Source(source), false, (content) => parseRun(content, lookup)));
}

function streamed(text: string, cuts: readonly number[]): readonly Block[] {
  const document = new MarkdownDocument();
  for (const cut of [...cuts].sort((a, b) => a - b)) document.update(text.slice(0, cut), false);
  return document.update(text, true);
}

describe("a streamed text", () => {
  it.each(texts.map((text) => [text.slice(0, 40), text] as const))(
    "comes to the same as the whole text, character by character: %j",
    (_, text) => {
      const document = new MarkdownDocument();
      for (let length = 1; length <= text.length; length++) {
        document.update(text.slice(0, length), false);
      }
      expect(document.update(text, true)).toEqual(whole(text));
    },
  );

  it("comes to the same wherever it is cut", () => {
    const fragment = fc.constantFrom(...texts);
    const text = fc
      .array(fragment, { minLength: 1, maxLength: 4 })
      .chain((parts) =>
        fc.tuple(
          fc.constant(parts),
          fc.array(fc.constantFrom("", "\n", "\n\n", "\r\n", "  "), { minLength: 4, maxLength: 4 }),
        ),
      );
    fc.assert(
      fc.property(text, fc.array(fc.nat(2_000), { maxLength: 30 }), ([parts, joints], places) => {
        const joined = parts.map((part, index) => part + (joints[index] ?? "")).join("");
        const cuts = places.map((place) => place % (joined.length + 1));
        expect(streamed(joined, cuts)).toEqual(whole(joined));
      }),
      { numRuns: 200 },
    );
  });

  it("comes to the same for lines made of the marks that mean something", () => {
    const mark = fc.constantFrom(
      "#",
      "-",
      "+",
      "1.",
      "2)",
      ">",
      "```",
      "~~~",
      "    ",
      "  ",
      "\t",
      "|",
      "|-|",
      "===",
      "---",
      "***",
      "[a]",
      "[a]:",
      "[^n]",
      "[^n]:",
      "/u",
      "https://u.example",
      '"t',
      't"',
      "'",
      "a",
      "b c",
      "*",
      "**",
      "_",
      "`",
      "\\",
      "<div>",
      "</div>",
      "<!--",
      "$$",
      "\\[",
      "\\]",
      "$",
      "!",
      "(",
      ")",
      "\n",
      "\n",
      "\n\n",
      "\r\n",
      "\r",
      " ",
      "\u202e",
      "\0",
      "~~",
    );
    fc.assert(
      fc.property(
        fc.array(mark, { maxLength: 30 }),
        fc.array(fc.nat(120), { maxLength: 40 }),
        (marks, places) => {
          const text = marks.join("");
          expect(
            streamed(
              text,
              places.map((place) => place % (text.length + 1)),
            ),
          ).toEqual(whole(text));
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it("shows at every moment what the text so far would show, but for references that are not settled", () => {
    const text = texts.filter((one) => !/\[[^\]]+\]:/.test(one)).join("\n\n");
    const document = new MarkdownDocument();
    for (let length = 1; length < text.length; length += 7) {
      const shown = document.update(text.slice(0, length), false);
      expect(closed(shown)).toEqual(closed(whole(text.slice(0, length))));
    }
  });
});

/** Without the difference between a code block that may still grow and one that ends with the text. */
function closed(blocks: readonly Block[]): unknown {
  return JSON.parse(JSON.stringify(blocks, (key, value: unknown) => (key === "open" ? undefined : value)));
}
