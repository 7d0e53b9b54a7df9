/** The words of an answer, in the reader's language. */
export interface MarkdownLabels {
  /** On the button over a code block. */
  copy: string;
  /** On it, once its code was handed over. */
  copied: string;
  /** On the fold over a finished train of thought, such as "Thought for 3.8 s". */
  thought: string;
  /** On it while the thought goes on. */
  thinking: string;
  /** Before an image's description: images are never loaded. */
  imageNotLoaded: string;
  /** Names a code block that can be scrolled; the language, where there is one, is added to it. */
  code: string;
  /** Names a formula that can be scrolled. */
  formula: string;
  /** Names a table that can be scrolled. */
  table: string;
  /** Names the button at a footnote mark. */
  note: (mark: string) => string;
  /** Names the button at a footnote that goes back to its mark. */
  noteBack: (mark: string) => string;
}
