import { expect, test } from "vitest";
import { timing } from "../ipc/fake/library";
import { receipt } from "../ipc/fake/library";
import { Conversation } from "./conversation.svelte";
import { answer, message, view } from "./messages.test-data";

function opened(): Conversation {
  const conversation = new Conversation("c");
  conversation.show(
    view("c", [
      message("q1", { parent: "system" }),
      answer("a1", "q1"),
      message("q2", { parent: "a1" }),
      answer("a2", "q2", { receipt: receipt("live", 100), timing: timing(20) }),
    ]),
  );
  return conversation;
}

const ids = (conversation: Conversation) => conversation.messages.map((one) => one.id).join(" ");
const kept = (one: ReturnType<typeof message>) =>
  ({ kind: "kept", conversation: "c", title: "T", message: one }) as const;

test("a follow-up comes behind the last message", () => {
  const conversation = opened();
  conversation.hear(kept(message("q3", { parent: "a2" })));
  conversation.hear({ kind: "answering", message: answer("a3", "q3", { text: "" }) });
  expect(ids(conversation)).toBe("q1 a1 q2 a2 q3 a3");
});

test("an edit takes the place of what it edits, and what followed goes", () => {
  const conversation = opened();
  conversation.hear(kept(message("q2b", { parent: "a1", versions: ["q2", "q2b"] })));
  expect(ids(conversation)).toBe("q1 a1 q2b");
});

test("an edit of the first message replaces everything: its parent is not shown", () => {
  const conversation = opened();
  conversation.hear(kept(message("q1b", { parent: "system", versions: ["q1", "q1b"] })));
  expect(ids(conversation)).toBe("q1b");
});

test("to regenerate leaves the question and drops the old answer", () => {
  const conversation = opened();
  conversation.hear(kept(message("q2", { parent: "a1" })));
  expect(ids(conversation)).toBe("q1 a1 q2");
  conversation.hear({
    kind: "answering",
    message: answer("a2b", "q2", { text: "", versions: ["a2", "a2b"] }),
  });
  expect(ids(conversation)).toBe("q1 a1 q2 a2b");
});

test("text grows beside the list, which stays the same array", () => {
  const conversation = opened();
  conversation.hear({ kind: "answering", message: answer("a2", "q2", { text: "" }) });
  const before = conversation.messages;
  conversation.hear({ kind: "text", text: "Hel", tokens: 1 });
  conversation.hear({ kind: "text", text: "lo", tokens: 2 });
  expect(conversation.grown).toBe("Hello");
  expect(conversation.messages).toBe(before);
});

test("the end puts the whole answer in its place", () => {
  const conversation = opened();
  conversation.hear({ kind: "answering", message: answer("a2", "q2", { text: "" }) });
  conversation.hear({ kind: "done", message: answer("a2", "q2", { text: "Whole" }), context_used: 321 });
  expect(conversation.find("a2")?.text).toBe("Whole");
  expect([conversation.growing, conversation.contextUsed]).toEqual([null, 321]);
});

test("a failure with a part keeps the part; without one the empty answer goes", () => {
  const error = { code: "engine_died", message: "", remedy: "" };
  const kept = opened();
  kept.hear({ kind: "answering", message: answer("a2", "q2", { text: "" }) });
  kept.hear({ kind: "failed", error, message: answer("a2", "q2", { text: "Ha", state: "interrupted" }) });
  expect(kept.find("a2")?.state).toBe("interrupted");
  const empty = opened();
  empty.hear({ kind: "answering", message: answer("a2", "q2", { text: "" }) });
  empty.hear({ kind: "failed", error, message: null });
  expect(ids(empty)).toBe("q1 a1 q2");
});

test("a turn that is begun again forgets its part", () => {
  const conversation = opened();
  conversation.hear({ kind: "answering", message: answer("a2", "q2", { text: "" }) });
  conversation.hear({ kind: "text", text: "half", tokens: 1 });
  conversation.hear({ kind: "retrying", error: { code: "engine_died", message: "", remedy: "" } });
  expect([ids(conversation), conversation.grown, conversation.growing]).toEqual(["q1 a1 q2", "", null]);
});

test("the context in use comes from the last receipt, and is unknown without one", () => {
  const conversation = opened();
  expect(conversation.contextUsed).toBe(120);
  conversation.resumed("a1", { at: 5, receipt: receipt("restored", 77) });
  expect(conversation.contextUsed, "the branch ends behind that").toBe(120);
  conversation.resumed("a2", { at: 6, receipt: receipt("restored", 125) });
  expect(conversation.contextUsed).toBe(125);
  conversation.show(view("c", [message("q")]));
  expect(conversation.contextUsed).toBeNull();
});
