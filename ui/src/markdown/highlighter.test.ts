import { describe, expect, it } from "vitest";
import { paint } from "./highlighter";

const check = (language: string, code: string, expected: string) => {
  const marked = paint(code, language)
    ?.map(({ text, kind }) => (kind === null ? text : `${kind}(${text})`))
    .join("");
  expect(marked).toBe(expected);
};

describe("colours", () => {
  it("follow the language", () => {
    check("rust", 'fn f() -> u8 { 1 } // "x"', 'k(fn) f(f)() -> f(u8) { n(1) } c(// "x")');
    check("py", "def f(a):\n    return 'x' # <b>", "k(def) f(f)(a):\n    k(return) s('x') c(# <b>)");
    check("html", '<a href="x">&amp;</a>', '<k(a) f(href)=s("x")>n(&amp;)</k(a)>');
    check("sh", "echo $HOME", "f(echo) $HOME");
    check("json", '{"a": [1, null]}', '{f("a"): [n(1), k(null)]}');
  });

  it("do not change the code, whatever it is", () => {
    const codes = [
      "",
      '<span class="hljs-x">',
      "&lt;&amp;&#x27;'\"",
      "</span></code></pre>",
      "\u202e\0\ufffd\ud800",
      "a\r\nb",
    ];
    for (const language of ["html", "rust", "js", "python", "markdown", "diff", "yaml", "php"]) {
      for (const code of codes)
        expect(
          paint(code, language)
            ?.map(({ text }) => text)
            .join(""),
          `${language} ${code}`,
        ).toBe(code);
    }
  });
});
