import { describe, expect, it, vi } from "vitest";
import { texts } from "./growing.test-texts";
import { outline, show, TestResizeObserver } from "./markdown.test-env";

const one = <Kind extends Element = HTMLElement>(root: Element, selector: string): Kind => {
  const found = root.querySelector<Kind>(selector);
  if (!found) throw new Error(`There is no ${selector} in ${root.innerHTML}`);
  return found;
};

describe("while an answer streams", () => {
  it(
    "the elements of finished blocks stay the same ones, untouched, over 1,000 pieces",
    { timeout: 30_000 },
    async () => {
      const finished = [
      "# Heading", "A paragraph with **strong** words and `code`.", "- one\n- two\n\n  more of two", "1. a\n2. b",
      "| a | b |\n| - | - |\n| 1 | 2 |", "> quoted", "```text\ncode\n```", "$$\nx\n$$", "A mark[^1].", "[^1]: The note.", "---",
    ].join("\n\n"); // prettier-ignore
      const { root, update } = show("", true);
      await update(`${finished}\n\nThe`, true);
      const prose = one(root, ".prose");
      const before = [...walk(prose)].filter((node) => node.textContent !== "The" && node !== prose);
      const open = one(root, ".prose > p:last-of-type");
      const kept = before.filter((node) => !open.contains(node));
      const touched: MutationRecord[] = [];
      const observer = new MutationObserver((records) => touched.push(...records));
      observer.observe(prose, { childList: true, characterData: true, attributes: true, subtree: true });

      let text = `${finished}\n\nThe`;
      for (let piece = 0; piece < 1_000; piece++) {
        text += piece % 50 === 49 ? ".\n\nNext" : piece % 10 === 9 ? " *x*" : " word";
        await update(text, true);
      }
      await update(text, false);
      touched.push(...observer.takeRecords());

      expect(kept.length).toBeGreaterThan(80);
      const now = new Set(walk(prose));
      expect(kept.filter((node) => !now.has(node))).toEqual([]);
      expect(touched.filter(({ target }) => kept.includes(target))).toEqual([]);
      expect(root.querySelectorAll(".prose > p").length).toBe(2 + 21);
    },
  );

  it("items of an open list that ended stay the same elements", async () => {
    const { root, update } = show("", true);
    let text = "";
    const seen: Element[] = [];
    for (let item = 0; item < 60; item++) {
      text += `- item **${item}**\n`;
      await update(text, true);
      const items = [...root.querySelectorAll("li")];
      expect(items.slice(0, seen.length)).toEqual(seen);
      expect(items.every((element, index) => index >= seen.length || element === seen[index])).toBe(true);
      seen.splice(0, seen.length, ...items);
    }
    expect(seen.length).toBe(60);
  });

  it("ends with the same elements as the whole text", async () => {
    for (const text of texts) {
      const { root, update, unmount } = show("", true);
      for (let length = 1; length < text.length; length += 11) await update(text.slice(0, length), true);
      await update(text, false);
      const whole = show(text);
      expect(outline(root), text).toBe(outline(whole.root));
      whole.unmount();
      unmount();
    }
  });

  it("shows an unclosed fence as code, and leaves it plain until it is closed", async () => {
    await import("./highlighter");
    const { root, update } = show("```rust\nlet a = 1;", true);
    expect(one(root, "pre code").textContent).toBe("let a = 1;");
    // The highlighter is at hand already, so it would have painted by now.
    await new Promise((done) => setTimeout(done));
    expect(root.querySelector(".k")).toBeNull();
    await update("```rust\nlet a = 1;\n```\n", true);
    await vi.waitFor(() => expect(one(root, ".k").textContent).toBe("let"));
    expect(one(root, "pre code").textContent).toBe("let a = 1;");
  });

  it("adds to open code instead of writing it anew", async () => {
    const { root, update } = show("```\nfirst", true);
    const text = one(root, "pre code").firstChild;
    await update("```\nfirst\nsecond", true);
    expect(one(root, "pre code").firstChild).toBe(text);
    expect(text?.textContent).toBe("first\nsecond");
  });

  it("goes on when an answer that ended is continued or replaced", async () => {
    const { root, update } = show("One\n\nTwo");
    const [first] = root.querySelectorAll("p");
    await update("One\n\nTwo and more", true);
    expect([...root.querySelectorAll("p")].map(({ textContent }) => textContent)).toEqual([
      "One",
      "Two and more",
    ]);
    expect(root.querySelector("p")).toBe(first);
    await update("Other", false);
    expect([...root.querySelectorAll("p")].map(({ textContent }) => textContent)).toEqual(["Other"]);
  });
});

describe("links", () => {
  it("hand over their address on a click and on Enter, and on nothing else", () => {
    const { root, onlink } = show("[text](https://a.example/x?y#z)");
    const link = one(root, "[role=link]");
    expect(link.title).toBe("https://a.example/x?y#z");
    expect(link.tabIndex).toBe(0);
    link.click();
    expect(onlink.mock.calls).toEqual([["https://a.example/x?y#z"]]);
    link.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    expect(onlink).toHaveBeenCalledTimes(2);
    link.dispatchEvent(new KeyboardEvent("keydown", { key: "a", bubbles: true }));
    link.dispatchEvent(new MouseEvent("auxclick", { button: 1, bubbles: true }));
    link.dispatchEvent(new MouseEvent("contextmenu", { button: 2, bubbles: true }));
    expect(onlink).toHaveBeenCalledTimes(2);
  });

  it("have nothing that a window could follow by itself", () => {
    const { root } = show(
      "[a](https://a.example) <https://b.example> https://c.example www.d.example e@f.example ![g](https://h.example)",
    );
    expect(root.querySelectorAll("[role=link]").length).toBe(6);
    expect(root.querySelectorAll("a, img, area, [href], [src], [draggable]").length).toBe(0);
  });

  it("keep what was written, and know where a sentence ends", () => {
    const { root } = show(
      "See https://a.example/b_c_d%20e, (www.f.example/g), http://h.example. README.md, 1.2.3.4 and a.b are none.",
    );
    const links = [...root.querySelectorAll<HTMLElement>("[role=link]")];
    expect(links.map(({ textContent, title }) => [textContent, title])).toEqual([
      ["https://a.example/b_c_d%20e", "https://a.example/b_c_d%20e"],
      ["www.f.example/g", "http://www.f.example/g"],
      ["http://h.example", "http://h.example/"],
    ]);
  });

  it("of images name what was not loaded, also within a link", () => {
    const { root, onlink } = show(
      "![A cat](https://a.example/c.png) and [![Dog](https://b.example/d.png)](https://e.example)",
    );
    const [image, link] = root.querySelectorAll<HTMLElement>("[role=link]");
    expect(image?.textContent).toBe("Image not loaded\u00a0A cat");
    image?.click();
    link?.click();
    expect(onlink.mock.calls).toEqual([["https://a.example/c.png"], ["https://e.example/"]]);
    expect(link?.textContent).toContain("Dog");
    expect(root.querySelectorAll("[role=link] [role=link]").length).toBe(0);
  });
});

describe("code", () => {
  it("is handed over as it was written, controls and all", async () => {
    const code = "let a = '\u202e\u2066';\n\tb &lt; <c>";
    const { root, oncopy } = show(`\`\`\`js\n${code}\n\`\`\``);
    const button = one<HTMLButtonElement>(root, ".code button");
    expect(button.textContent.trim()).toBe("Copy");
    button.click();
    expect(oncopy.mock.calls).toEqual([[code]]);
    await vi.waitFor(() => expect(button.textContent.trim()).toBe("Copied"));
    button.dispatchEvent(new FocusEvent("blur"));
    await vi.waitFor(() => expect(button.textContent.trim()).toBe("Copy"));
  });

  it("shows controls that reorder it, before and after it is coloured", async () => {
    const { root } = show("```js\nlet a = '\u202ex\u2069'; // \u061c\n```");
    const controls = () => [...root.querySelectorAll(".bidi-control")].map(({ textContent }) => textContent);
    expect(controls()).toEqual(["U+202E", "U+2069", "U+061C"]);
    await vi.waitFor(() => expect(root.querySelector(".s")).not.toBeNull());
    expect(controls()).toEqual(["U+202E", "U+2069", "U+061C"]);
    expect(one(root, "pre").textContent).not.toMatch(/[\u061c\u202a-\u202e\u2066-\u2069]/);
  });

  it("can be reached by keyboard only where it can be scrolled", () => {
    const { root } = show("```js\nlong\n```");
    const pre = one(root, "pre");
    expect(pre.hasAttribute("tabindex")).toBe(false);
    Object.defineProperty(pre, "scrollWidth", { configurable: true, value: 500 });
    TestResizeObserver.measure();
    expect([pre.tabIndex, pre.getAttribute("role"), pre.getAttribute("aria-label")]).toEqual([
      0,
      "region",
      "Code js",
    ]);
    Object.defineProperty(pre, "scrollWidth", { configurable: true, value: 0 });
    TestResizeObserver.measure();
    expect(pre.getAttributeNames()).toEqual([]);
  });

  it("names its language, with whatever else was said of it", () => {
    const { root } = show("```rust,ignore title=a.rs\nx\n```");
    expect(one(root, ".code-info").textContent).toBe("rust,ignore title=a.rs");
  });
});

describe("thoughts", () => {
  const thoughts = (root: Element) => root.querySelector(".thought");

  it("are folded, and Markdown inside", async () => {
    const { root } = show("<think>\nFirst *this*.\n</think>\n\nThe answer.");
    const fold = one<HTMLButtonElement>(root, ".think");
    expect([fold.textContent.trim(), fold.ariaExpanded ?? fold.getAttribute("aria-expanded")]).toEqual([
      "Thought",
      "false",
    ]);
    expect(thoughts(root)).toBeNull();
    expect(one(root, ".prose").textContent).toBe("The answer.");
    fold.click();
    await vi.waitFor(() => expect(one(root, ".thought em").textContent).toBe("this"));
    expect(fold.getAttribute("aria-expanded")).toBe("true");
    fold.click();
    await vi.waitFor(() => expect(thoughts(root)).toBeNull());
  });

  it("never flash a tag while they stream", async () => {
    const text = "<think>a < b</think>Answer";
    const { root, update } = show("", true);
    for (let length = 1; length <= text.length; length++) {
      await update(text.slice(0, length), true);
      const fold = root.querySelector<HTMLButtonElement>(".think");
      if (fold?.getAttribute("aria-expanded") === "false") fold.click();
      await update(text.slice(0, length), true);
      expect(root.textContent, text.slice(0, length)).not.toMatch(/<\/?t|<$|<\/$/);
      if (length > 7) expect(fold?.textContent.trim()).toBe(length < 20 ? "Thinking" : "Thought");
    }
    await update(text, false);
    expect(one(root, ".thought").textContent).toBe("a < b");
  });

  it("that never end are thoughts still", () => {
    const { root } = show("<think>on and on");
    expect(one(root, ".think").textContent.trim()).toBe("Thought");
    expect(root.querySelector(".prose")).toBeNull();
  });

  it("are no fold where there are none, and no tag later in the text is one", () => {
    expect(show("<think>\n\n</think>\n\nAnswer").root.textContent.trim()).toBe("Answer");
    expect(show("Use <think> for that. </think>").root.textContent.trim()).toBe(
      "Use <think> for that. </think>",
    );
    expect(show("<thi").root.textContent.trim()).toBe("<thi");
  });

  it("may have begun in the prompt", () => {
    const { root } = show("Let me see.\n</think>\n\nAnswer");
    expect(one(root, ".think")).toBeTruthy();
    expect(one(root, ".prose").textContent).toBe("Answer");
    expect(show("```\n</think>\n```").root.querySelector(".think")).toBeNull();
  });
});

describe("the structure of an answer", () => {
  it("begins its headings below that of the turn", () => {
    const { root } = show("# a\n## b\n### c\n#### d\n##### e\n###### f");
    expect([...root.querySelectorAll(".prose > *")].map(({ localName }) => localName)).toEqual([
      "h3",
      "h4",
      "h5",
      "h6",
      "h6",
      "h6",
    ]);
  });

  it("gives tables scopes and alignment, and a line break in a cell", () => {
    const { root } = show("| a | b | c |\n|:--|--:|:-:|\n| 1<br>2 | 3 | 4 |");
    expect([...root.querySelectorAll("th")].map((th) => [th.scope, th.className])).toEqual([
      ["col", ""],
      ["col", "r"],
      ["col", "m"],
    ]);
    expect(one(root, "td").innerHTML.replace(/<!--.*?-->/g, "")).toBe("1<br>2");
  });

  it("names tasks and leaves them alone", () => {
    const { root } = show("- [x] buy **milk**\n- [ ] bread");
    const boxes = [...root.querySelectorAll<HTMLInputElement>("input")];
    expect(boxes.map(({ checked, disabled, ariaLabel }) => [checked, disabled, ariaLabel])).toEqual([
      [true, true, "buy milk"],
      [false, true, "bread"],
    ]);
  });

  it("numbers lists from where they start", () => {
    expect(one<HTMLOListElement>(show("7. a\n8. b").root, "ol").start).toBe(7);
    expect(one(show("1. a").root, "ol").hasAttribute("start")).toBe(false);
  });

  it("leads from a footnote's mark to it and back, without ids", () => {
    const { root } = show("Text[^a].\n\n[^a]: The note.");
    const mark = one<HTMLButtonElement>(root, ".note-mark");
    const note = one(root, ".footnote");
    mark.click();
    expect(document.activeElement).toBe(note);
    expect(mark.ariaLabel).toBe("Footnote a");
    one(root, ".note-back").click();
    expect(document.activeElement).toBe(mark);
    expect(root.querySelector("[id]")).toBeNull();
  });

  it("finds formulas, and leaves money and names alone", () => {
    const { root } = show(
      "Cost $5 or $6 and *more*; $HOME/$USER; $a_1*b_2*c$ and \\(x_1\\).\n\n$$\na_1\n+ b_2\n$$",
    );
    expect(one(root, "p").textContent).toBe(
      "Cost $5 or $6 and more; $HOME/$USER; $a_1*b_2*c$ and \\(x_1\\).",
    );
    const formulas = [...root.querySelectorAll(".tex")].map((formula) => formula.textContent);
    expect(formulas).toEqual(["$a_1*b_2*c$", "\\(x_1\\)", "$$\na_1\n+ b_2\n$$"]);
  });

  it("typesets formulas, and keeps on the screen what was typeset while more of a text comes", async () => {
    const { root, update } = show("So $x^2$ and $\\broken{$.", true);
    await vi.waitFor(() => expect(root.querySelector("math")).not.toBeNull());
    const math = one(root, ".tex math");
    expect(math.querySelector("msup")?.textContent).toBe("x2");
    expect(root.querySelectorAll(".tex--source").length).toBe(1);
    expect(root.textContent).toContain("$\\broken{$");
    await update("So $x^2$ and $\\broken{$. And more\n\n\\[ \\frac{1}{2} \\]", false);
    expect(one(root, ".tex math")).toBe(math);
    await vi.waitFor(() => expect(one(root, ".tex--block math").getAttribute("display")).toBe("block"));
  });
});

function* walk(root: Node): Generator<Node> {
  const walker = document.createTreeWalker(root);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) yield node;
}
