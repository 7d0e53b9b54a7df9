// TeX to MathML. The library's output is untrusted as the formula is: it is read as XML, and only what is listed
// here is built anew from it. Nothing can be fetched, styled, or be larger than a formula is.

import temml from "temml";

const NAMESPACE = "http://www.w3.org/1998/Math/MathML";

const ELEMENTS = new Set(
  (
    "math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle mpadded mphantom menclose " +
    "msub msup msubsup munder mover munderover mmultiscripts mprescripts none mtable mtr mtd"
  ).split(" "),
);

const WORDS = new Set(
  (
    "display mathvariant stretchy fence separator symmetric largeop movablelimits accent accentunder form " +
    "displaystyle scriptlevel notation columnspan rowspan"
  ).split(" "),
);
const SIZES = new Set("lspace rspace minsize maxsize linethickness width height depth voffset".split(" "));

/** Places in a line of equations, by the library's classes. */
const CLASSES = new Set(["tml-left", "tml-right", "tml-jot", "tml-tag"]);

/** Lengths in em, ex or plain numbers above this are no part of a formula. */
const LARGEST = 30;
/** The same in points and pixels. */
const LARGEST_POINTS = 400;
/** Elements of one formula. */
const MAX_ELEMENTS = 4_000;
/** Elements in one another. */
const MAX_DEPTH = 100;
/** Times that a macro may be expanded. */
const MAX_EXPANSIONS = 300;

/** Throws where the formula cannot be read. */
export function mathml(tex: string, display: boolean): Element {
  const text = temml.renderToString(tex, {
    displayMode: display,
    throwOnError: true,
    trust: false,
    maxExpand: MAX_EXPANSIONS,
    maxSize: [LARGEST, LARGEST],
    // Macros of one formula are not those of the next.
    macros: {},
  });
  const root = new DOMParser().parseFromString(text, "text/xml").documentElement;
  if (root.localName !== "math" || root.getElementsByTagName("*").length > MAX_ELEMENTS) {
    throw new Error("not a formula");
  }
  return copied(root, 0);
}

function copied(from: Element, depth: number): Element {
  if (depth > MAX_DEPTH || !ELEMENTS.has(from.localName))
    throw new Error(`no ${from.localName} in a formula`);
  const to = document.createElementNS(NAMESPACE, from.localName);
  for (const { name, value } of from.attributes) {
    if ((WORDS.has(name) && /^[\w -]{1,64}$/u.test(value)) || (SIZES.has(name) && isSmall(value))) {
      to.setAttribute(name, value);
    } else if (name === "class") {
      const classes = value.split(" ").filter((one) => CLASSES.has(one));
      if (classes.length > 0) to.setAttribute("class", classes.join(" "));
    }
  }
  for (const child of from.childNodes) {
    if (child instanceof Element) to.append(copied(child, depth + 1));
    else if (child.nodeType === Node.TEXT_NODE) to.append(child.nodeValue ?? "");
  }
  return to;
}

function isSmall(length: string): boolean {
  const match = /^([+-]?\d{0,6}(?:\.\d{1,12})?)(em|ex|pt|px|%)?$/u.exec(length);
  if (match === null) return false;
  const points = match[2] === "pt" || match[2] === "px" || match[2] === "%";
  return Math.abs(Number(match[1])) <= (points ? LARGEST_POINTS : LARGEST);
}
