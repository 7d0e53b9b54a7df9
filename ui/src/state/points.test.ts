import { expect, test } from "vitest";
import { Fake } from "../ipc/fake/fake";
import { Points } from "./points.svelte";

const ids = ({ messages }: { messages: readonly { id: string }[] }) =>
  messages.map((one) => one.id).join(" ");

function begun() {
  const fake = new Fake({ conversations: 2 });
  return { fake, points: new Points(fake) };
}

test("jumping shows the conversation up to there, and the way back leads to where one was", async () => {
  const { points } = begun();
  await points.name("c0.m1", "  First answer ");
  const view = await points.jump("c0.m1", "c0.m5");
  expect(ids(view)).toBe("c0.m0 c0.m1");
  expect(view.checkpoints).toMatchObject([{ message: "c0.m1", name: "First answer" }]);
  expect(points.standing("c0", "c0.m1")).toEqual({ message: "c0.m1", sure: true, from: "c0.m5" });
  expect(points.standing("c1", "c0.m1")).toBeNull();
  const back = await points.back("c0");
  expect(back && ids(back)).toBe("c0.m0 c0.m1 c0.m2 c0.m3 c0.m4 c0.m5");
  expect(points.standing("c0", "c0.m1")).toBeNull();
  expect(await points.back("c0")).toBeNull();
});

test("whoever writes there, steps to another version or was at the end already stands nowhere", async () => {
  const { points } = begun();
  await points.name("c0.m1", "Here");
  await points.jump("c0.m1", "c0.m5");
  // What was written is the last message then.
  expect(points.standing("c0", "c0.n1")).toBeNull();
  points.left("c0");
  expect(points.standing("c0", "c0.m1")).toBeNull();
  await points.jump("c0.m1", "c0.m1");
  expect(points.standing("c0", "c0.m1")).toBeNull();
});

test("a conversation that still ends where somebody jumped to says so, without claiming what is behind", async () => {
  const { fake, points } = begun();
  await points.name("c0.m1", "Here");
  const short = await fake.jumpTo("c0.m1");
  points.opened(short, 6);
  expect(points.standing("c0", "c0.m1")).toMatchObject({ sure: false });
  // Where no message is missing, it is simply the end; and where nothing is known, nothing is said.
  points.opened(short, 2);
  expect(points.standing("c0", "c0.m1")).toBeNull();
  points.opened(short, null);
  expect(points.standing("c0", "c0.m1")).toBeNull();
  // What is known from a jump in this session stays.
  await points.jump("c0.m1", "c0.m5");
  points.opened(short, 6);
  expect(points.standing("c0", "c0.m1")).toMatchObject({ sure: true });
  // A last message without a name is an end like any other.
  points.opened({ ...short, checkpoints: [] }, 6);
  expect(points.standing("c0", "c0.m1")).toBeNull();
});
