import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Fake, type Play } from "../ipc/fake/fake";
import { Qualifications } from "./qualifications.svelte";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function begun(play: Partial<Play> = {}) {
  const fake = new Fake({ conversations: 1, ...play });
  const qualifications = new Qualifications(fake);
  await qualifications.refresh();
  return { fake, qualifications };
}

test("of the loaded model only what was found out for now counts", async () => {
  const { qualifications } = await begun();
  const { found, ofLoaded } = qualifications;
  expect(ofLoaded).toMatchObject({ model: found?.loaded, current: true });
  expect(found?.rows.filter((row) => qualifications.isNow(row)).length).toBe(1);
  const { qualifications: untested } = await begun({ tested: false });
  expect(untested.ofLoaded).toBeNull();
  expect(untested.found?.loaded).not.toBeNull();
  // What was found out for another engine or other settings says nothing about now.
  if (found) {
    const past = found.rows.filter((row) => row.model === found.loaded && !row.current);
    expect(past.length).toBe(1);
    qualifications.found = { ...found, rows: past };
  }
  expect(qualifications.ofLoaded).toBeNull();
});

test("testing is asked for once, and what came of it is shown", async () => {
  const { fake, qualifications } = await begun({ tested: false });
  const done = qualifications.run();
  void qualifications.run();
  expect(qualifications.busy).toBe(true);
  await vi.runAllTimersAsync();
  await done;
  expect(qualifications.busy).toBe(false);
  expect(fake.calls.filter((call) => call.command === "qualify").length).toBe(1);
  expect(qualifications.ofLoaded).toMatchObject({ verdict: "identical" });
});

test("what could not be tested says why, and the table stays", async () => {
  const { fake, qualifications } = await begun();
  fake.play.failing = { qualify: { code: "engine_died", message: "Died.", remedy: "Again." } };
  await qualifications.run();
  expect(qualifications.failed).toMatchObject({ code: "engine_died" });
  expect(qualifications.busy).toBe(false);
  expect(qualifications.found?.rows.length).toBeGreaterThan(0);
});
