import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Fake, type Play } from "../ipc/fake/fake";
import { Storage } from "./storage.svelte";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function watched(play: Partial<Play> = {}) {
  const fake = new Fake({ conversations: 5, ...play });
  const storage = new Storage(fake, () => Date.now());
  const leave = storage.watch();
  await vi.advanceTimersByTimeAsync(0);
  const asked = (command: string) => fake.calls.filter((call) => call.command === command);
  return { fake, storage, leave, asked };
}

test("of ten thousand snapshots only the pages that are looked at are asked for", async () => {
  const { storage, asked } = await watched({ snapshots: 10_000 });
  expect(storage.total).toBe(10_000);
  expect(asked("list_snapshots").map((call) => call.given)).toEqual([["used", 0, 100]]);
  expect(storage.at(0)?.id).toBeDefined();
  expect(storage.at(5050)).toBeUndefined();

  storage.need(5040, 5060);
  storage.need(5045, 5065);
  await vi.advanceTimersByTimeAsync(0);
  expect(storage.at(5050)?.id).toBeDefined();
  expect(asked("list_snapshots").length).toBe(2);

  // Anew: only what is looked at now, and the rest is let go of.
  await storage.refresh();
  expect(asked("list_snapshots").at(-1)?.given).toEqual(["used", 5000, 100]);
  expect(asked("list_snapshots").length).toBe(3);
  expect(storage.at(0)).toBeUndefined();
});

test("an answer that was overtaken by another order is not shown", async () => {
  const { fake, storage } = await watched({ snapshots: 20 });
  const plain = fake.listSnapshots.bind(fake);
  let late: () => void = () => undefined;
  vi.spyOn(fake, "listSnapshots").mockImplementationOnce(async (order, offset, limit) => {
    const answer = await plain(order, offset, limit);
    return new Promise((resolve) => (late = () => resolve(answer)));
  });
  void storage.sort("size");
  await vi.advanceTimersByTimeAsync(0);
  await storage.sort("age");
  const first = storage.at(0)?.id;
  late();
  await vi.advanceTimersByTimeAsync(0);
  expect(storage.at(0)?.id).toBe(first);
  const ages = [0, 1, 2].map((at) => storage.at(at)?.created ?? 0);
  expect(ages).toEqual(ages.toSorted((one, other) => other - one));
});

test("what is saved meanwhile is read once it is quiet, and only while somebody looks", async () => {
  const { storage, asked, leave } = await watched();
  storage.stale();
  storage.stale();
  await vi.advanceTimersByTimeAsync(299);
  expect(asked("storage").length).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(asked("storage").length).toBe(2);
  leave();
  storage.stale();
  await vi.advanceTimersByTimeAsync(1000);
  expect(asked("storage").length).toBe(2);
});

test("a pin shows at once, and goes back where it could not be kept", async () => {
  const { fake, storage } = await watched();
  const row = storage.at(0);
  if (row === undefined) throw new Error("no row");
  await storage.pin(row);
  expect(storage.at(0)?.pinned).toBe(true);
  expect(storage.view?.pinned).toBe(3);
  fake.play.failing = { pin_snapshot: { code: "disk_full", message: "Full.", remedy: "Free some." } };
  const pinned = { ...row, pinned: true };
  await expect(storage.pin(pinned)).rejects.toMatchObject({ code: "disk_full" });
  expect(storage.at(0)?.pinned).toBe(true);
});

test("a limit of nothing leaves what is pinned and nothing else, and the default comes back", async () => {
  const { storage, asked } = await watched();
  await storage.limit(0);
  expect(storage.view).toMatchObject({ budget: 0, chosen: true, snapshots: 2, pinned: 2 });
  expect(storage.total).toBe(2);
  await storage.limit(null);
  expect(storage.view).toMatchObject({ budget: 20_000_000_000, chosen: false });
  expect(asked("set_snapshot_budget").map((call) => call.given)).toEqual([[0], [null]]);
});

test("a check tells how far it is, and its result stays", async () => {
  const { storage } = await watched({ snapshots: 40, damaged: 1 });
  const done = storage.verify();
  void storage.verify();
  await vi.advanceTimersByTimeAsync(100);
  expect(storage.checking).toMatchObject({ of: 40, leftMs: null });
  await vi.advanceTimersByTimeAsync(500);
  // At a steady pace as much is left as the rest is long.
  const { checked, leftMs } = storage.checking ?? { checked: 0, leftMs: null };
  expect(checked).toBeGreaterThan(20);
  expect(leftMs).toBeCloseTo((40 - checked) * 20, -2);
  await vi.runAllTimersAsync();
  await done;
  expect(storage.checking).toBeNull();
  expect(storage.outcome).toMatchObject({ kind: "verified", whole: 39, removed: 1, stopped: false });
  expect(storage.total).toBe(39);
  await storage.refresh();
  expect(storage.outcome).toMatchObject({ kind: "verified" });
});

test("a check that is stopped says so, and one that fails says why", async () => {
  const { fake, storage } = await watched({ snapshots: 40 });
  const done = storage.verify();
  await vi.advanceTimersByTimeAsync(100);
  await storage.stopVerifying();
  await storage.stopVerifying();
  expect(fake.calls.filter((call) => call.command === "stop_verify").length).toBe(1);
  await vi.runAllTimersAsync();
  await done;
  expect(storage.outcome).toMatchObject({ kind: "verified", stopped: true });
  fake.play.failing = { verify_snapshots: { code: "disk_full", message: "Full.", remedy: "Free some." } };
  await storage.verify();
  expect(storage.outcome).toMatchObject({ kind: "failed", error: { code: "disk_full" } });
});

test("what is dropped and cleared is told with its size", async () => {
  const { storage } = await watched({ snapshots: 5 });
  const row = storage.at(0);
  await storage.drop(row?.id ?? "");
  expect(storage.outcome).toEqual({ kind: "removed", snapshots: 1, bytes: row?.bytes });
  expect(storage.total).toBe(4);
  await storage.clear();
  expect(storage.outcome).toMatchObject({ kind: "removed", snapshots: 4 });
  expect([storage.total, storage.view?.bytes]).toEqual([0, 0]);
});

test("a file that cannot be opened is told with what to do, and nothing is asked of it", async () => {
  const { storage, asked } = await watched({ unusable: true });
  expect(storage.view?.unusable).toMatchObject({ code: "snapshots_damaged" });
  expect(asked("list_snapshots")).toEqual([]);
  expect(storage.failed).toBeNull();
});

test("what cannot be read leaves what is there, and says so", async () => {
  const { fake, storage } = await watched();
  fake.play.failing = { storage: { code: "storage", message: "No.", remedy: "Again." } };
  await storage.refresh();
  expect(storage.failed).toMatchObject({ code: "storage" });
  expect(storage.at(0)).toBeDefined();
  fake.play.failing = {};
  await storage.refresh();
  expect(storage.failed).toBeNull();
});
