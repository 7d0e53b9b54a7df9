// What the parts of the fake know of each other.

import type { AppEvent } from "../generated/AppEvent";
import type { ConversationRow } from "../generated/ConversationRow";
import type { EnginePhase } from "../generated/EnginePhase";
import type { EngineView } from "../generated/EngineView";
import type { ModelRow } from "../generated/ModelRow";
import type { Play } from "./fake";
import type { Chatted } from "./library";

export interface Stage {
  readonly play: Play;
  /** Answers a command, or fails as it is to fail; notes that it was called. */
  reply<Answer>(command: string, given: unknown[], answer: () => Answer): Promise<Answer>;
  /** Says something that nobody asked for. */
  say(event: AppEvent): void;
  /** The list of conversations, the trash not included. */
  rows(): readonly ConversationRow[];
  conversation(id: string): Chatted;
  /** The conversation that a message is of. */
  owner(message: string): Chatted;
  models(): readonly ModelRow[];
  engine(): EngineView;
  engineIs(phase: EnginePhase): void;
  /** Waits for `release` where the play holds here. */
  held(at: NonNullable<Play["hold"]>): Promise<void>;
  /** Goes on after a hold. */
  release(): void;
  /** A new id's number. */
  born(): number;
}

export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
