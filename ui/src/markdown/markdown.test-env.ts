// What the tests of this folder share.

import { render } from "@testing-library/svelte";
import { vi } from "vitest";
import type { MarkdownLabels } from "./labels";
import Markdown from "./Markdown.svelte";

/** jsdom lays nothing out and has no such observer. This one measures when a test says so. */
export class TestResizeObserver implements ResizeObserver {
  static readonly #all = new Set<TestResizeObserver>();

  constructor(readonly callback: ResizeObserverCallback) {}

  static measure(): void {
    for (const observer of TestResizeObserver.#all) observer.callback([], observer);
  }

  observe(): void {
    TestResizeObserver.#all.add(this);
  }

  unobserve(): void {
    throw new Error("Observers here end as a whole.");
  }

  disconnect(): void {
    TestResizeObserver.#all.delete(this);
  }
}
globalThis.ResizeObserver = TestResizeObserver;

export const labels: MarkdownLabels = {
  copy: "Copy",
  copied: "Copied",
  thought: "Thought",
  thinking: "Thinking",
  imageNotLoaded: "Image not loaded",
  formula: "Formula",
  code: "Code",
  table: "Table",
  note: (mark) => `Footnote ${mark}`,
  noteBack: (mark) => `Back to mark ${mark}`,
};

export function show(text: string, streaming = false) {
  const onlink = vi.fn<(address: string) => void>();
  const oncopy = vi.fn<(text: string) => void>();
  const props = { text, streaming, onlink, oncopy, labels };
  const { container, rerender, unmount } = render(Markdown, props);
  return {
    root: container,
    onlink,
    oncopy,
    unmount,
    update: (to: string, on: boolean) => rerender({ ...props, text: to, streaming: on }),
  };
}

/** The elements below `root` as text, without the comments by which Svelte finds its place. */
export function outline(root: Element): string {
  return root.innerHTML.replace(/<!---->|<!--\[-?\d*-->|<!--[[\]!]*-->/g, "");
}
