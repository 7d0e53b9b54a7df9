// Reasoning models begin an answer with their thoughts, between <think> and </think>.

export interface Parts {
  /** The thoughts, or `null` where there are none. */
  readonly thought: string | null;
  /** Whether the thoughts go on. */
  readonly thinking: boolean;
  readonly answer: string;
}

const OPENING = /^\s*<(think|thinking)>/i;
const CLOSING = /<\/(?:think|thinking)>/i;
/** Templates may open the thought in the prompt, so that an answer holds its end alone. */
const LONE_CLOSING = /^<\/(?:think|thinking)>[ \t]*$/im;
const FENCE = /^ {0,3}(?:```|~~~)/gm;

/** Takes an answer apart. While it is streaming, half a tag at its end is held back. */
export function splitThinking(text: string, streaming: boolean): Parts {
  const opening = OPENING.exec(text);
  if (opening) {
    const rest = text.slice(opening[0].length);
    const closing = CLOSING.exec(rest);
    if (closing) return parts(rest.slice(0, closing.index), rest.slice(closing.index + closing[0].length));
    const held = streaming ? withoutHalf(rest, ["</think>", "</thinking>"]) : rest;
    return { thought: held.trim() === "" && !streaming ? null : held, thinking: streaming, answer: "" };
  }
  if (streaming && isHalf(text.trimStart(), ["<think>", "<thinking>"])) {
    return { thought: null, thinking: false, answer: "" };
  }
  const lone = text.includes("</") ? LONE_CLOSING.exec(text) : null;
  if (lone && (text.slice(0, lone.index).match(FENCE) ?? []).length % 2 === 0) {
    return parts(text.slice(0, lone.index), text.slice(lone.index + lone[0].length));
  }
  return { thought: null, thinking: false, answer: text };
}

function parts(thought: string, answer: string): Parts {
  // Models that were told not to think leave an empty pair of tags.
  return { thought: thought.trim() === "" ? null : thought, thinking: false, answer };
}

function isHalf(text: string, tags: readonly string[]): boolean {
  return text !== "" && tags.some((tag) => tag.startsWith(text.toLowerCase()));
}

function withoutHalf(text: string, tags: readonly string[]): string {
  const from = text.lastIndexOf("<");
  return from >= 0 && isHalf(text.slice(from), tags) ? text.slice(0, from) : text;
}
