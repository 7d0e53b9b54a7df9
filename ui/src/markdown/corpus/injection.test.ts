import { describe, expect, it } from "vitest";
import { outline, show } from "../markdown.test-env";
import corpus from "./injection.json";

interface Entry {
  name: string;
  text: string;
  /** What a reader must be able to see of it. */
  seen: string[];
  /** The addresses that it may offer to open: these and no others. */
  links?: string[];
}

const entries: Entry[] = corpus;

const HTML = "http://www.w3.org/1999/xhtml";
const SVG = "http://www.w3.org/2000/svg";
const MATHML = "http://www.w3.org/1998/Math/MathML";
/** Of formulas; what may be in one is tested where they are made. */
const FORMULAS: readonly string[] =
  "display stretchy fence separator form symmetric largeop movablelimits accent width height lspace rspace".split(
    " ",
  );
const ELEMENTS: Record<string, readonly string[]> = {
  div: [],
  p: [],
  h3: [],
  h4: [],
  h5: [],
  h6: [],
  br: [],
  hr: [],
  strong: [],
  em: [],
  del: [],
  sup: [],
  code: [],
  pre: [],
  blockquote: [],
  ul: [],
  li: [],
  table: [],
  thead: [],
  tbody: [],
  tr: [],
  td: [],
  figure: [],
  span: ["role", "tabindex", "title"],
  ol: ["start"],
  th: ["scope"],
  input: ["type", "disabled", "aria-label"],
  button: ["type", "aria-label", "aria-expanded"],
};
const CONTAINERS: readonly string[] = ["role", "tabindex", "aria-label"];
const DRAWINGS: Record<string, readonly string[]> = {
  svg: ["viewBox", "aria-hidden"],
  path: ["d"],
  rect: ["x", "y", "width", "height", "rx"],
};
const CLASSES = new Set(
  "prose plain tex tex--block tex--source table-scroll link link-host image image-note note-mark note-back footnote task code code-head code-info push btn btn--quiet btn--sm i i--sm k s n f c r m bidi-control think thought".split(
    " ",
  ),
);

/** What is wrong with the elements below `root`. */
function breaches(root: Element): string[] {
  const found: string[] = [];
  for (const element of root.querySelectorAll("*")) {
    const name = element.localName;
    const own =
      element.namespaceURI === HTML
        ? ELEMENTS[name]
        : element.namespaceURI === SVG
          ? DRAWINGS[name]
          : element.namespaceURI === MATHML && element.closest(".tex") !== null
            ? FORMULAS
            : undefined;
    if (!own) found.push(`element ${name}`);
    const region = name === "div" || name === "pre" ? CONTAINERS : [];
    for (const attribute of element.attributes) {
      if (attribute.name === "class") {
        for (const one of element.classList) if (!CLASSES.has(one)) found.push(`class ${one}`);
      } else if (![...(own ?? []), ...region].includes(attribute.name)) {
        found.push(`attribute ${attribute.name} on ${name}`);
      }
    }
  }
  return found;
}

const squeezed = (text: string) => text.replace(/\s+/g, " ").trim();

describe("the injection corpus", () => {
  it("has enough entries, each of its own name", () => {
    expect(entries.length).toBeGreaterThanOrEqual(80);
    expect(new Set(entries.map(({ name }) => name)).size).toBe(entries.length);
  });

  describe.each(entries)("$name", ({ text, seen, links }) => {
    const check = (root: Element) => {
      for (const fold of root.querySelectorAll<HTMLButtonElement>(".think")) fold.click();
      expect(breaches(root)).toEqual([]);
      const visible = squeezed(root.textContent ?? "");
      for (const part of seen) expect(visible).toContain(squeezed(part));
      const offered = [...root.querySelectorAll("[title]")].map(
        (element) => element.getAttribute("title") ?? "",
      );
      expect([...new Set(offered)].sort()).toEqual([...(links ?? [])].sort());
    };

    it("becomes text", () => {
      const { root, onlink } = show(text);
      check(root);
      expect(onlink).not.toHaveBeenCalled();
    });

    it("is as harmless with its formulas typeset", async () => {
      const { root } = show(text);
      if (root.querySelector(".tex") === null) return;
      await import("../mathml");
      // Each formula waits for that too, and then for its own turn.
      await new Promise((resolve) => setTimeout(resolve));
      expect(breaches(root)).toEqual([]);
    });

    it("becomes the same when it comes piece by piece", async () => {
      const { root, update } = show("", true);
      for (let length = 1; length < text.length; length += 7) {
        await update(text.slice(0, length), true);
        expect(breaches(root)).toEqual([]);
      }
      await update(text, false);
      expect(outline(root)).toBe(outline(show(text).root));
      check(root);
    });
  });

  it("is judged by a check that sees what it must see", () => {
    const seeded = [
      "<script></script>",
      "<a href='#'>x</a>",
      "<img src='x'>",
      "<p onclick='x'></p>",
      "<p style='color:red'></p>",
      "<p id='x'></p>",
      "<iframe srcdoc='x'></iframe>",
      "<svg onload='x'></svg>",
      "<svg><a></a></svg>",
      "<math></math>",
      "<p class='banner'></p>",
      "<form></form>",
    ];
    for (const html of seeded) {
      const root = document.createElement("div");
      root.innerHTML = html;
      expect(breaches(root), html).not.toEqual([]);
    }
  });
});
