import type { Backend } from "../ipc/backend";
import type { TokenCount as Counted } from "../ipc/generated/TokenCount";

const pause = 300;

/** How many tokens the text in the composer has. */
export class TokenCount {
  counted = $state.raw<Counted>({ tokens: 0, exact: true });
  private timer: ReturnType<typeof setTimeout> | null = null;
  private asked = 0;

  constructor(private readonly backend: Backend) {}

  count(text: string): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.asked += 1;
    if (text === "") {
      this.counted = { tokens: 0, exact: true };
      return;
    }
    this.timer = setTimeout(() => void this.ask(text), pause);
  }

  private async ask(text: string): Promise<void> {
    const turn = this.asked;
    try {
      const counted = await this.backend.countTokens(text);
      if (turn === this.asked) this.counted = counted;
    } catch {
      // A count that fails is no news: the length gives an estimate, and is marked as one.
      if (turn === this.asked) this.counted = { tokens: Math.ceil(text.length / 4), exact: false };
    }
  }
}
