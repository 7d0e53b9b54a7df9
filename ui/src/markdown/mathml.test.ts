import { describe, expect, it } from "vitest";
import { between, typeset } from "./formula";
import { mathml } from "./mathml";

/** Elements and attributes of a formula, each once. */
function parts(math: Element): { elements: string[]; attributes: string[] } {
  const all = [math, ...math.querySelectorAll("*")];
  const attributes = all.flatMap((one) => [...one.attributes].map(({ name, value }) => `${name}=${value}`));
  return {
    elements: [...new Set(all.map((one) => one.localName))].sort(),
    attributes: [...new Set(attributes)].sort(),
  };
}

describe("a formula", () => {
  it("is what stands between its delimiters", () => {
    expect(between("$x$")).toEqual({ tex: "x", display: false });
    expect(between("$$\nx\n$$")).toEqual({ tex: "\nx\n", display: true });
    expect(between("\\(x\\)")).toEqual({ tex: "x", display: false });
    expect(between("\\[x\\]")).toEqual({ tex: "x", display: true });
    for (const open of ["$$\nx", "\\[x", "$$", "$$$$", "x"]) expect(between(open)).toBeNull();
  });

  it("becomes MathML of a few elements, without classes or styles of its own", () => {
    const sum = parts(mathml("d_t = \\sum_{j=1}^{W} (x_j - x_{j+\\tau})^2", true));
    expect(sum.elements).toEqual(["math", "mi", "mn", "mo", "mrow", "msub", "msup", "munderover"]);
    expect(sum.attributes).toContain("display=block");
    const lines = parts(mathml("\\begin{aligned} a &= b \\\\ c &= d \\end{aligned}", true));
    expect(lines.attributes).toContain("class=tml-right");
    for (const { attributes } of [sum, lines]) {
      expect(attributes.filter((one) => one.startsWith("style="))).toEqual([]);
    }
  });

  it.each([
    "\\href{javascript:alert(1)}{x}",
    "\\url{https://evil.example}",
    "\\includegraphics{https://evil.example/x.png}",
    "\\class{btn}{x}",
    "\\id{root}{x}",
    "\\style{position:fixed}{x}",
    "\\data{a=b}{x}",
    "\\def\\a{\\a\\a}\\a",
    "\\frac{1}{",
    "\\begin{matrix}",
    "{".repeat(500) + "x" + "}".repeat(500),
  ])("that is hostile or broken stays as it was written: %s", async (tex) => {
    const math = await typeset(`$$${tex}$$`);
    if (math === null) return;
    const { elements, attributes } = parts(math);
    expect(elements.filter((one) => ["a", "img", "style", "script", "semantics"].includes(one))).toEqual([]);
    expect(attributes.filter((one) => /^(href|src|style|id|data-|class=btn)/u.test(one))).toEqual([]);
  });

  it("takes no room that a formula does not need", () => {
    const { attributes } = parts(mathml("\\hspace{9999em}x\\rule{1000em}{1000em}\\kern{2em}y", true));
    expect(attributes.filter((one) => /\d{3,}/u.test(one))).toEqual([]);
    expect(attributes).toContain("width=2em");
  });

  it("leaves no macro behind for the next one", () => {
    mathml("\\gdef\\mine{x}\\mine", false);
    expect(() => mathml("\\mine", false)).toThrow();
  });

  it("that is too long stays as it was written", async () => {
    expect(await typeset(`$$${"x+".repeat(1_500)}x$$`)).toBeNull();
  });
});
