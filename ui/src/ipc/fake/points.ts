// What a person settles for one conversation, as the fake plays it: choices, instructions, named places.

import { AppError } from "../error";
import type { Choices } from "../generated/Choices";
import type { ConversationView } from "../generated/ConversationView";
import type { MessageView } from "../generated/MessageView";
import type { Chatted } from "./library";
import type { Stage } from "./stage";

export class Points {
  /** The instructions above each first message, where they were changed. */
  private readonly systems = new Map<string, string | null>();

  constructor(private readonly stage: Stage) {}

  choose(conversation: string, choices: Choices): Promise<void> {
    return this.stage.reply("choose_for_conversation", [conversation, choices], () => {
      this.stage.conversation(conversation).view.choices = { ...choices };
    });
  }

  changeInstructions(conversation: string, text: string): Promise<ConversationView> {
    return this.stage.reply("change_instructions", [conversation, text], () => {
      const chatted = this.stage.conversation(conversation);
      const before = chatted.view.messages[0];
      if (before !== undefined && !this.systems.has(before.id)) {
        this.systems.set(before.id, chatted.view.system);
      }
      this.copy(chatted);
      const system = text.trim() === "" ? null : text;
      const root = chatted.view.messages[0];
      if (root !== undefined) this.systems.set(root.id, system);
      chatted.view.system = system;
      return seen(chatted);
    });
  }

  name(message: string, name: string): Promise<ConversationView> {
    return this.stage.reply("name_checkpoint", [message, name], () => {
      const chatted = this.stage.owner(message);
      const { checkpoints } = chatted.view;
      const trimmed = name.trim();
      if (!chatted.all.has(message) || trimmed === "" || trimmed.length > 80) throw refused();
      const known = checkpoints.find((one) => one.message === message);
      chatted.view.checkpoints = known
        ? checkpoints.map((one) => (one === known ? { ...one, name: trimmed } : one))
        : [
            ...checkpoints,
            { message, name: trimmed, created: Date.now(), pinned: this.reached(chatted, message) },
          ];
      return seen(chatted);
    });
  }

  remove(message: string): Promise<ConversationView> {
    return this.stage.reply("remove_checkpoint", [message], () => {
      const chatted = this.stage.owner(message);
      chatted.view.checkpoints = chatted.view.checkpoints.filter((one) => one.message !== message);
      return seen(chatted);
    });
  }

  jump(message: string): Promise<ConversationView> {
    return this.stage.reply("jump_to", [message], () => {
      const chatted = this.stage.owner(message);
      chatted.view.messages = above(chatted, message);
      this.settle(chatted);
      return seen(chatted);
    });
  }

  /** Shows the branch that a message is on, to its newest end. */
  show(chatted: Chatted, message: MessageView): void {
    const shown = above(chatted, message.id);
    const children = (id: string) => [...chatted.all.values()].filter((one) => one.parent === id);
    for (let end = children(message.id).at(-1); end !== undefined; end = children(end.id).at(-1)) {
      shown.push(end);
    }
    chatted.view.messages = shown;
    this.settle(chatted);
  }

  /** Each branch has its own instructions. */
  private settle(chatted: Chatted): void {
    const root = chatted.view.messages[0];
    if (root !== undefined && this.systems.has(root.id)) {
      chatted.view.system = this.systems.get(root.id) ?? null;
    }
  }

  /** A snapshot reaches what was answered and is not the last exchange: that one is not saved yet. */
  private reached(chatted: Chatted, message: string): boolean {
    const at = chatted.view.messages.findIndex((one) => one.id === message);
    return at >= 0 && at < chatted.view.messages.length - 2;
  }

  /** Copies the shown branch beside itself, and shows the copy. */
  private copy(chatted: Chatted): void {
    let parent: string | null = null;
    const copies: MessageView[] = [];
    for (const one of chatted.view.messages) {
      const id = `${chatted.row.id}.n${this.stage.born()}`;
      copies.push({ ...one, id, parent, versions: [id], resumes: [], resumes_before: 0 });
      parent = id;
    }
    for (const copy of copies) chatted.all.set(copy.id, copy);
    const roots = [...chatted.all.values()].filter((one) => one.parent === null);
    for (const root of roots) root.versions = roots.map((one) => one.id);
    chatted.view.messages = copies;
  }
}

/** A message with all that came before it. */
function above(chatted: Chatted, message: string): MessageView[] {
  const path: MessageView[] = [];
  for (let at = chatted.all.get(message); at !== undefined; at = chatted.all.get(at.parent ?? "")) {
    path.unshift(at);
  }
  if (path.length === 0) throw refused();
  return path;
}

const seen = ({ view }: Chatted): ConversationView => ({ ...view, messages: [...view.messages] });

const refused = () =>
  new AppError({
    code: "conflict",
    message: "This change cannot be made. Nothing was changed.",
    remedy: "Open the conversation again, then try again.",
  });
