// Frame times while an answer streams and while a long conversation is scrolled. Printed, not asserted: they
// depend on the machine.

import { expect, type Page, test } from "@playwright/test";

/** Frame times until `stopFrames`, in milliseconds. */
async function startFrames(page: Page): Promise<void> {
  await page.evaluate(() => {
    const frames: number[] = [];
    Object.assign(window, { frames });
    let last = performance.now();
    const frame = () => {
      const now = performance.now();
      frames.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
}

async function report(page: Page, name: string): Promise<void> {
  const frames = await page.evaluate(() => (window as unknown as { frames: number[] }).frames);
  const worst = worstSecond(frames).toFixed(1);
  frames.sort((a, b) => a - b);
  const at = (part: number) =>
    (frames[Math.min(frames.length - 1, Math.floor(frames.length * part))] ?? 0).toFixed(1);
  console.log(
    `${name}: ${frames.length} frames, p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms, ` +
      `longest ${at(1)} ms, worst second ${worst} frames`,
  );
}

/** The fewest frames a second, over every stretch of at least a second. */
function worstSecond(frames: readonly number[]): number {
  let worst = Infinity;
  for (let from = 0; from < frames.length; from += 1) {
    let time = 0;
    for (let to = from; to < frames.length && time < 1000; to += 1) {
      time += frames[to] ?? 0;
      if (time >= 1000) worst = Math.min(worst, ((to - from + 1) * 1000) / time);
    }
  }
  return worst;
}

test("200 tokens a second into a conversation of 2,000 messages", async ({ page }) => {
  const answer = "A sentence with **marks** and `code` in it, as answers have. ".repeat(20) + "\n\n";
  const query = new URLSearchParams({ messages: "2000", rate: "200", answer, times: "4", language: "en" });
  await page.goto(`/?${query}`);
  await expect(page.locator("article.it").last()).toBeVisible();
  await page.getByRole("textbox", { name: "Message" }).fill("Go");
  await page.keyboard.press("Enter");
  await expect(page.locator("article.it").last()).toContainText("A sentence");
  await startFrames(page);
  await expect(page.getByRole("button", { name: "Send (Enter)" })).toBeVisible({ timeout: 100_000 });
  await report(page, "streaming");
});

test("scrolling a conversation of 5,000 messages", async ({ page }) => {
  await page.goto("/?messages=5000&language=en");
  await expect(page.locator("article.it").last()).toBeVisible();
  await page.getByRole("log").hover();
  await startFrames(page);
  for (let at = 0; at < 120; at += 1) await page.mouse.wheel(0, -300);
  await report(page, "scrolling");
});

test("reading a conversation of 2,000 messages, and hopping between conversations that open instantly", async ({
  page,
}) => {
  await page.goto("/?messages=2000&opening=no_snapshot&replay_ms=4000&language=en");
  await expect(page.getByRole("progressbar")).toBeVisible();
  await startFrames(page);
  await expect(page.locator(".openings .receipt")).toBeVisible({ timeout: 20_000 });
  await report(page, "reading");

  await page.goto("/?messages=2000&opening=restored&language=en");
  const rows = [
    "Why does the CSV import drop rows?",
    "Letter to the landlord",
    "Guitar tuner: pitch detection",
  ];
  await expect(page.locator(".openings .receipt")).toBeVisible();
  await startFrames(page);
  for (const name of rows) {
    await page.getByRole("button", { name, exact: true }).click();
    await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
    await expect(page.locator(".openings .receipt")).toBeVisible();
  }
  await report(page, "restoring");
});
