const most = 12;

/** What a reader hears while an answer is written: whole sentences, no code, no marks of Markdown. */
export class Spoken {
  lines = $state.raw<readonly { id: number; text: string }[]>([]);
  private rest = "";
  private fenced = false;
  private born = 0;

  /** Takes in a piece of the answer. */
  hear(text: string): void {
    this.rest += text;
    for (;;) {
      const end = this.rest.search(/[.!?…](?=\s)|[。！？…]|\n/u);
      if (end < 0) return;
      const sentence = this.rest.slice(0, end + 1);
      this.rest = this.rest.slice(end + 1);
      if (sentence.trimStart().startsWith("```")) {
        this.fenced = !this.fenced;
        continue;
      }
      if (!this.fenced) this.say(plain(sentence));
    }
  }

  /** The answer is over: says what is left of it. */
  end(): void {
    if (!this.fenced) this.say(plain(this.rest));
    this.rest = "";
    this.fenced = false;
  }

  /** Says something about the answer. */
  say(text: string): void {
    if (text === "") return;
    this.lines = [...this.lines, { id: (this.born += 1), text }].slice(-most);
  }
}

function plain(text: string): string {
  return text
    .replace(/<\/?think>/gu, "")
    .replace(/^[\s>#*+-]+|[*_`#|$\\]+/gu, "")
    .replace(/\[([^\]]*)\]\([^)]*\)/gu, "$1")
    .trim();
}
