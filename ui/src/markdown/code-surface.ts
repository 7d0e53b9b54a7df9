// The element that shows code. It is filled by hand: a block that grows by a line gets a line more, and coloured
// code would be thousands of components.

import { showControls } from "./bidi";
import type { Piece } from "./highlight";

/** A text element that grows is laid out anew as a whole, so it is kept short. */
const TEXT_LENGTH = 4_096;

export class CodeSurface {
  #shown = "";
  #painted = false;

  constructor(readonly element: HTMLElement) {}

  show(text: string): void {
    if (text === this.#shown) return;
    if (this.#painted || !text.startsWith(this.#shown)) {
      this.element.replaceChildren();
      this.#shown = "";
      this.#painted = false;
    }
    this.#append(this.element, text.slice(this.#shown.length));
    this.#shown = text;
  }

  /** Shows the same code in colour. */
  paint(pieces: readonly Piece[]): void {
    const fragment = document.createDocumentFragment();
    for (const { text, kind } of pieces) {
      if (kind === null) {
        this.#append(fragment, text);
      } else {
        const span = document.createElement("span");
        span.className = kind;
        this.#append(span, text);
        fragment.append(span);
      }
    }
    this.element.replaceChildren(fragment);
    this.#painted = true;
  }

  #append(parent: ParentNode & Node, code: string): void {
    for (const { text, control } of showControls(code)) {
      if (control !== undefined) {
        const mark = document.createElement("span");
        mark.className = "bidi-control";
        mark.textContent = control;
        parent.append(mark);
        continue;
      }
      const last = parent.lastChild;
      if (last instanceof Text && last.length + text.length <= TEXT_LENGTH) last.appendData(text);
      else parent.append(text);
    }
  }
}
