// What a conversation does while it is written and read.

import { expect, type Page, test } from "@playwright/test";
import { open } from "./page";

const log = (page: Page) => page.getByRole("log");
const distance = (page: Page) =>
  log(page).evaluate((box) => Math.round(box.scrollHeight - box.clientHeight - box.scrollTop));
/** An answer that takes longer than the test. */
const long = { answer: `${"A sentence of an answer that goes on for a while. ".repeat(5)}\n\n`, times: 300 };

async function ask(page: Page, text = "Go on"): Promise<void> {
  await expect(page.locator("article.it").last()).toBeVisible();
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.keyboard.press("Enter");
}

test("the view follows the answer, lets go when somebody scrolls up, and does not move then", async ({
  page,
}) => {
  await open(page, { language: "en", rate: 400, ...long });
  await ask(page);
  await expect(page.locator("article.it").last()).toContainText("goes on for a while. A sentence");
  await expect.poll(() => distance(page)).toBeLessThan(8);
  const newest = page.getByRole("button", { name: "Jump to the newest" });
  await expect(newest).toHaveCount(0);

  await log(page).hover();
  await page.mouse.wheel(0, -400);
  await expect(newest).toBeVisible();
  // The message in the middle of the view, once the wheel has come to rest.
  const read = await log(page).evaluate(async (box) => {
    for (let still = 0, top = box.scrollTop; still < 12; still += 1) {
      await new Promise(requestAnimationFrame);
      if (box.scrollTop !== top) still = 0;
      top = box.scrollTop;
    }
    const { top, height } = box.getBoundingClientRect();
    const middle = top + height / 2;
    // The middle itself may be a receipt between two messages.
    const away = (one: HTMLElement) => {
      const rect = one.getBoundingClientRect();
      return Math.max(rect.top - middle, middle - rect.bottom, 0);
    };
    const messages = [...box.querySelectorAll<HTMLElement>("[data-message]")];
    return messages.toSorted((one, other) => away(one) - away(other))[0]?.dataset["message"] ?? "";
  });
  const place = () =>
    page.locator(`[data-message="${read}"]`).evaluate((one) => one.getBoundingClientRect().top);
  const grown = () => log(page).evaluate((box) => box.scrollHeight);
  const before = await place();
  const height = await grown();
  await expect.poll(async () => (await grown()) - height).toBeGreaterThan(200);
  expect(await place()).toBe(before);

  await newest.click();
  await expect.poll(() => distance(page)).toBeLessThan(8);
  await expect(newest).toHaveCount(0);
});

test("a view that moved by itself goes on following: nobody scrolled", async ({ page }) => {
  await open(page, { language: "en", rate: 400, ...long });
  await ask(page);
  await expect(page.locator("article.it").last()).toContainText("goes on for a while. A sentence");
  // As a list does whose lines turn out shorter than they were taken for.
  await log(page).evaluate((box) => (box.scrollTop -= 300));
  await expect.poll(() => distance(page)).toBeLessThan(8);
  await expect(page.getByRole("button", { name: "Jump to the newest" })).toHaveCount(0);
});

test("somebody who reads further up is left there, whatever the turn goes through", async ({ page }) => {
  await open(page, { language: "en", messages: 40, rate: 2000, hold: "reading", answer: "Done." });
  await ask(page);
  await expect(page.getByText("2,540 done")).toBeVisible();
  await expect.poll(() => distance(page)).toBeLessThan(8);
  await log(page).hover();
  await page.mouse.wheel(0, -900);
  await expect(page.getByRole("button", { name: "Jump to the newest" })).toBeVisible();
  await page.evaluate(() => window.__fake?.release());
  await expect(page.getByRole("button", { name: "Send (Enter)" })).toBeVisible();
  expect(await distance(page)).toBeGreaterThan(600);
});

test("Escape stops, and the part is marked", async ({ page }) => {
  await open(page, { language: "en", rate: 100, ...long });
  await ask(page);
  await expect(page.locator("article.it").last()).toContainText("A sentence");
  await expect(page.getByRole("button", { name: "Stop (Esc)" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.locator("article.it").last()).toContainText("Stopped");
  await expect(page.getByRole("button", { name: "Send (Enter)" })).toBeVisible();
});

test("the line of the receipt keeps its place from the question to the receipt", async ({ page }) => {
  await open(page, { language: "en", rate: 2000, hold: "reading", answer: "Done." });
  await ask(page);
  const question = page.locator("article.you").last();
  await expect(page.getByText("2,540 done")).toBeVisible();
  const offset = () => question.evaluate((element) => element.getBoundingClientRect().top);
  const scroll = () => log(page).evaluate((box) => box.scrollTop);
  const before = (await offset()) + (await scroll());
  await page.evaluate(() => window.__fake?.release());
  await expect(page.locator("article.it").last()).toContainText("Done.");
  await expect(page.getByText("Getting ready")).toHaveCount(0);
  expect((await offset()) + (await scroll())).toBeCloseTo(before, 0);
});

test("a reader hears sentences, then how it ended and the receipt, once", async ({ page }) => {
  await open(page, {
    language: "en",
    rate: 300,
    answer: "First sentence. Second sentence.",
    // Which says nothing of its own.
    opening: "ready",
  });
  await ask(page);
  const live = page.locator("[aria-live=polite]");
  await expect(live).toContainText("The answer is complete.");
  const lines = await live.locator("p").allTextContents();
  expect(lines.map((line) => line.replace(/\d[\d,.]*/gu, "#"))).toEqual([
    "Answering",
    "First sentence.",
    "Second sentence.",
    "The answer is complete.",
    "Went on from memory, # new of # tokens in # ms",
  ]);
});

test("a message without an answer can be tried again", async ({ page }) => {
  await open(page, { language: "en", fail_after: 4, rate: 500 });
  await ask(page);
  await expect(page.getByRole("alert")).toContainText("Your last message is saved.");
  await page.evaluate(() => {
    if (window.__fake) window.__fake.play.failAfter = null;
  });
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Send (Enter)" })).toBeVisible();
  await expect(page.getByRole("group", { name: "Version 2 of 2" })).toBeVisible();
});

test("Enter ends a composition and sends nothing", async ({ page }) => {
  await open(page, { language: "zh-CN" });
  const composer = page.getByRole("textbox", { name: "消息" });
  await composer.fill("三天");
  await composer.evaluate((area) => {
    area.dispatchEvent(new CompositionEvent("compositionstart", { bubbles: true }));
    area.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true }));
    area.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true }));
    area.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true }));
  });
  await expect(composer).toHaveValue("三天");
  expect(
    await page.evaluate(() => window.__fake?.calls.filter((call) => call.command === "take_turn").length),
  ).toBe(0);
  await page.keyboard.press("Enter");
  await expect(composer).toHaveValue("");
});

test("a draft stays with its conversation, and is saved when the page hides", async ({ page }) => {
  await open(page, { language: "en" });
  const composer = page.getByRole("textbox", { name: "Message" });
  await composer.fill("Not sent");
  await page.getByRole("button", { name: "Letter to the landlord" }).first().click();
  await expect(composer).toHaveValue("");
  await composer.fill("Another");
  await page.evaluate(() => window.dispatchEvent(new Event("beforeunload")));
  const drafts = await page.evaluate(() => [...(window.__fake?.drafts ?? [])]);
  expect(drafts).toContainEqual(["c2", "Another"]);
  await page.getByRole("button", { name: "Guitar tuner: pitch detection", exact: true }).click();
  await expect(composer).toHaveValue("Not sent");
});

test("a megabyte in one line does not freeze the page", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await open(page, { language: "en" });
  const composer = page.getByRole("textbox", { name: "Message" });
  await expect(composer).toBeFocused();
  await page.evaluate(async () => {
    await navigator.clipboard.writeText("word ".repeat(200_000));
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
  await page.keyboard.press("Control+v");
  await expect.poll(async () => (await composer.inputValue()).length).toBe(1_000_000);
  const longest = await page.evaluate(async () => {
    for (let at = 0; at < 20; at += 1) await new Promise(requestAnimationFrame);
    return Math.max(...(window as unknown as { frames: number[] }).frames);
  });
  console.log(`1 MB pasted: longest frame ${Math.round(longest)} ms`);
  expect(longest).toBeLessThan(2000);
  await page.keyboard.type("x");
  expect((await composer.inputValue()).length).toBe(1_000_001);
  expect((await composer.boundingBox())?.height).toBeLessThan(300);
});

test("ten thousand conversations and five thousand messages are a few lines each", async ({ page }) => {
  await open(page, { language: "en", conversations: 10_000, messages: 5000 });
  await expect(page.locator("article.it").last()).toBeVisible();
  await expect
    .poll(() =>
      page.evaluate(
        () => window.__fake?.calls.filter((call) => call.command === "list_conversations").length,
      ),
    )
    .toBe(20);
  expect(await page.locator(".row").count()).toBeLessThan(80);
  expect(await page.locator("article").count()).toBeLessThan(60);
  await expect.poll(() => distance(page)).toBeLessThan(8);
});

test("titles are text, whatever they hold", async ({ page }) => {
  const complaints = await open(page, { language: "en", odd: true });
  const list = page.getByRole("list", { name: "Conversations" });
  await expect(list).toContainText('<img src=x onerror="document.title=1"><b>not bold</b>');
  await expect(list.locator("b, img")).toHaveCount(0);
  await expect(list).toContainText("Untitled");
  for (const row of await list.getByRole("button").all()) {
    const box = await row.boundingBox();
    expect(box?.height ?? 0).toBeLessThanOrEqual(30);
  }
  expect(complaints).toEqual([]);
});

test("a file over the window shows where it may go, and a refusal says why", async ({ page }) => {
  await open(page, { language: "en", models: 0, conversations: 0 });
  await page.evaluate(() => window.__fake?.say({ kind: "dragging", over: true }));
  await expect(page.getByText("Drop to use this model")).toBeVisible();
  await page.screenshot({ path: "../target/e2e/ui/dragging.png" });
  await page.evaluate(() =>
    window.__fake?.say({
      kind: "dropped",
      choice: {
        kind: "refused",
        error: {
          code: "model_not_gguf",
          message: "a.zip is not a GGUF model file.",
          remedy: "Choose a file in GGUF format.",
        },
      },
    }),
  );
  await expect(page.getByText("Drop to use this model")).toHaveCount(0);
  await expect(page.getByText("a.zip is not a GGUF model file.")).toBeVisible();
  await page.getByRole("button", { name: /Choose a GGUF file/ }).click();
  await expect(page.getByRole("textbox", { name: "Message" })).toBeVisible();
});

test("a link asks the app, and never leaves the page", async ({ page }) => {
  await open(page, { language: "en", rate: 2000, answer: "See [the paper](https://example.org/yin)." });
  await ask(page);
  await page.getByRole("link", { name: "the paper" }).last().click();
  const asked = await page.evaluate(
    () => window.__fake?.calls.find((call) => call.command === "open_link")?.given,
  );
  expect(asked).toEqual(["https://example.org/yin"]);
  expect(page.url()).toContain("localhost");
});
