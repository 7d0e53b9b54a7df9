import { expect, test, vi } from "vitest";
import { Fake } from "../ipc/fake/fake";
import { Conversations } from "./conversations.svelte";

async function listed(count: number) {
  const fake = new Fake({ conversations: count });
  const list = new Conversations(fake);
  list.begin((await fake.start()).conversations);
  return { fake, list };
}

test("the rest of the list comes in pages, each row once", async () => {
  const { fake, list } = await listed(1234);
  expect([list.rows.length, list.complete]).toEqual([100, false]);
  await list.loadRest();
  expect(list.rows.length).toBe(1234);
  expect(new Set(list.rows.map((row) => row.id)).size).toBe(1234);
  expect(list.complete).toBe(true);
  expect(fake.calls.filter((call) => call.command === "list_conversations").length).toBe(3);
});

test("a conversation that begins while pages come is not there twice", async () => {
  const { fake, list } = await listed(700);
  const page = vi.spyOn(fake, "listConversations");
  const loading = list.loadRest();
  list.touch({ id: "new", title: "New", updated: Date.now(), messages: 1, model: null });
  list.touch({ id: "c3", title: "Third", updated: Date.now(), messages: 6, model: null });
  await loading;
  expect(page).toHaveBeenCalled();
  expect(list.rows.filter((row) => row.id === "c3").length).toBe(1);
  expect(list.rows.slice(0, 2).map((row) => row.id)).toEqual(["c3", "new"]);
  expect(list.rows.length).toBe(701);
});

test("what is deleted goes at once and comes back where it was", async () => {
  const { list } = await listed(10);
  const before = list.rows.map((row) => row.id);
  const gone = list.trash(["c4"]);
  expect(list.find("c4")).toBeUndefined();
  await gone;
  expect(list.total).toBe(9);
  await list.restore(["c4"]);
  expect(list.rows.map((row) => row.id)).toEqual(before);
  expect(list.total).toBe(10);
});

test("what could not be deleted comes back by itself", async () => {
  const { fake, list } = await listed(10);
  fake.play.failing = { trash_conversations: { code: "disk_full", message: "Full.", remedy: "Free some." } };
  await expect(list.trash(["c0", "c9"])).rejects.toMatchObject({ code: "disk_full" });
  expect(list.rows.map((row) => row.id)).toEqual(Array.from({ length: 10 }, (_, at) => `c${at}`));
});

test("a title that could not be changed goes back", async () => {
  const { fake, list } = await listed(3);
  const old = list.find("c1")?.title;
  fake.play.failing = { rename_conversation: { code: "disk_full", message: "Full.", remedy: "Free some." } };
  const renaming = list.rename("c1", "Other");
  expect(list.find("c1")?.title).toBe("Other");
  await expect(renaming).rejects.toMatchObject({ code: "disk_full" });
  expect(list.find("c1")?.title).toBe(old);
});
