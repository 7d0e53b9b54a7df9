import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { EditCost } from "../ipc/generated/EditCost";
import type { Outlook as Told } from "../ipc/generated/Outlook";
import { Marks } from "./marks.svelte";
import { Outlook } from "./outlook.svelte";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const mark = (conversation: string) => ({ conversation, instant: true, reason: null });

function marks() {
  const asked: string[][] = [];
  const store = new Marks({
    marks: (ids) => {
      asked.push(ids);
      return Promise.resolve(ids.map(mark));
    },
  });
  return { asked, store };
}

test("rows that come into sight are asked for together, each once", async () => {
  const { asked, store } = marks();
  for (const id of ["a", "b", "c"]) store.see(id);
  store.see("a");
  expect(store.of("a")).toBeNull();
  await vi.runAllTimersAsync();
  expect(asked).toEqual([["a", "b", "c"]]);
  expect(store.of("b")?.instant).toBe(true);
  store.see("b");
  store.see("d");
  await vi.runAllTimersAsync();
  expect(asked).toEqual([["a", "b", "c"], ["d"]]);
});

test("a change asks again for the rows that are still there", async () => {
  const { asked, store } = marks();
  const gone = store.see("a");
  store.see("b");
  await vi.runAllTimersAsync();
  gone();
  store.renew();
  store.renew();
  await vi.runAllTimersAsync();
  expect(asked).toEqual([["a", "b"], ["b"]]);
});

test("at most 200 at once, and the rest after them", async () => {
  const { asked, store } = marks();
  for (let at = 0; at < 450; at += 1) store.see(`c${at}`);
  await vi.runAllTimersAsync();
  expect(asked.map((ids) => ids.length)).toEqual([200, 200, 50]);
});

const told = (conversation: string, more: Partial<Told> = {}): Told => ({
  conversation,
  tokens: 4096,
  replay_ms: 18_600,
  mark: mark(conversation),
  edits: [],
  crossing: null,
  ...more,
});
const side = (model: string) => ({ model, name: model, load_ms: 0, instant: false, ready_ms: 1 });

test("what comes for a conversation that was left is not shown", async () => {
  const answers: ((told: Told) => void)[] = [];
  const outlook = new Outlook({ outlook: () => new Promise((resolve) => answers.push(resolve)) });
  outlook.show("a");
  outlook.show("b");
  answers[1]?.(told("b"));
  answers[0]?.(told("a"));
  await vi.runAllTimersAsync();
  expect(outlook.now?.conversation).toBe("b");
  expect(await outlook.known("a")).toBeNull();
});

test("a choice between two models holds until one of them is another", async () => {
  let crossing = { before: side("m1"), now: side("m0") };
  const edits: EditCost[] = [{ message: "q1", tokens: 1024, ms: null }];
  const outlook = new Outlook({ outlook: (id) => Promise.resolve(told(id, { crossing, edits })) });
  outlook.show("a");
  await vi.runAllTimersAsync();
  expect(outlook.crossing).not.toBeNull();
  expect(outlook.edit("q1")?.tokens).toBe(1024);
  outlook.goOn();
  expect(outlook.crossing).toBeNull();
  outlook.show("b");
  await vi.runAllTimersAsync();
  expect(outlook.crossing).not.toBeNull();
  outlook.show("a");
  await vi.runAllTimersAsync();
  expect(outlook.crossing).toBeNull();
  crossing = { before: side("m1"), now: side("m2") };
  outlook.renew();
  await vi.runAllTimersAsync();
  expect(outlook.crossing).not.toBeNull();
});
