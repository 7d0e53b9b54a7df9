// What is said of how a conversation was made ready, what it will cost, and what opens instantly.

import { expect, type Page, test } from "@playwright/test";
import { audit, fits, open, type Wish } from "./page";

const log = (page: Page) => page.getByRole("log");
const composer = (page: Page) => page.getByRole("textbox", { name: "Message" });
const openings = (page: Page) => page.locator(".openings");
const receipt = (page: Page) => openings(page).locator("button.receipt").first();
const inspector = (page: Page) => page.locator(".inspector");
const top = (page: Page) =>
  page
    .locator("article.it")
    .last()
    .evaluate((one) => one.getBoundingClientRect().top);

/** What the app was asked to make ready. */
const asked = (page: Page) =>
  page.evaluate(() =>
    (window.__fake?.calls ?? [])
      .filter(({ command }) => command === "resume_conversation")
      .map(({ given }) => given.join(" ")),
  );
const release = (page: Page) => page.evaluate(() => window.__fake?.release());

/** The page with the first conversation on it. */
async function shown(page: Page, wish: Wish = {}): Promise<string[]> {
  const complaints = await open(page, { language: "en", ...wish });
  await expect(page.locator("article.it").last()).toBeVisible();
  return complaints;
}

test("the receipt of an opening stands at its end, says the five checks and closes with Escape", async ({
  page,
}) => {
  const complaints = await shown(page);
  await expect(receipt(page)).toContainText("Resumed 4,096 tokens in 83 ms · verified");
  await receipt(page).click();
  await expect(inspector(page)).toContainText("Resumed, and verified");
  for (const words of ["83 ms", "18.5 s", "537 MB", "Replay, estimated", "18.6 s", "All five passed"]) {
    await expect(inspector(page)).toContainText(words);
  }
  await expect(inspector(page).locator("tbody tr")).toHaveCount(5);
  await expect(inspector(page).locator("tbody .proof")).toHaveCount(5);
  await audit(page);
  await page.keyboard.press("Escape");
  await expect(inspector(page)).toHaveCount(0);
  await expect(receipt(page)).toBeFocused();
  expect(complaints).toEqual([]);
});

for (const states of [false, true]) {
  const beside = states ? ", beside earlier openings" : "";
  test(`what comes and goes at the end does not move what is read${beside}`, async ({ page }) => {
    // What stands at the end, and where the last answer is painted, frame by frame.
    await page.addInitScript(() => {
      const seen: { line: string; at: number; typeset: number }[] = [];
      Object.assign(window, { seen });
      const look = () => {
        const answer = [...document.querySelectorAll("article.it")].at(-1);
        const line = document.querySelector(".openings .progress, .openings .receipt")?.classList[0];
        const typeset = document.querySelectorAll("math, pre span").length;
        if (answer) seen.push({ line: line ?? "nothing", at: answer.getBoundingClientRect().top, typeset });
        next();
      };
      // What follows a change of size follows before it is painted.
      const next = () => requestAnimationFrame(() => setTimeout(look));
      next();
    });
    await shown(page, { opening: "no_snapshot", replay_ms: 600, ...(states ? { states } : {}) });
    await expect(receipt(page)).toContainText("Replayed 4,096");
    await page.waitForTimeout(300);
    type Seen = { line: string; at: number; typeset: number }[];
    const seen = await page.evaluate(() => (window as unknown as { seen: Seen }).seen);
    const lines = seen.map(({ line }) => line).filter((line, at, all) => line !== all[at - 1]);
    expect(lines.slice(-3)).toEqual([states ? "receipt" : "nothing", "progress", "receipt"]);
    // A formula above may be typeset meanwhile: from then on, and from the last frame before the first change on.
    const first = Math.max(
      seen.findIndex(({ line }) => line === "progress") - 1,
      seen.findIndex(({ typeset }) => typeset === seen.at(-1)?.typeset) + 2,
    );
    const places = seen.slice(first).map(({ at }) => at);
    expect(Math.max(...places) - Math.min(...places)).toBeLessThan(2);
  });
}

test("what is over at once is not shown to go on", async ({ page }) => {
  await page.addInitScript(() => {
    const seen: string[] = [];
    Object.assign(window, { seen });
    new MutationObserver(() => {
      if (document.querySelector(".openings .progress") !== null) seen.push("progress");
    }).observe(document, { childList: true, subtree: true });
  });
  await shown(page);
  await expect(receipt(page)).toContainText("verified");
  expect(await page.evaluate(() => (window as unknown as { seen: string[] }).seen)).toEqual([]);
});

test("earlier openings unfold under the newest, and say how many are gone", async ({ page }) => {
  await shown(page, { states: true });
  await expect(receipt(page)).toContainText("verified");
  const earlier = openings(page).getByRole("button", { name: "7 earlier" });
  await expect(openings(page).locator("button.receipt")).toHaveCount(1);
  await earlier.click();
  await expect(openings(page).locator("button.receipt")).toHaveCount(4);
  await expect(openings(page)).toContainText("4 older receipts are not kept.");
  await expect(openings(page)).toContainText("Replayed 2,390 tokens");
  await audit(page);
  await earlier.click();
  await expect(openings(page).locator("button.receipt")).toHaveCount(1);
});

test("opening it again makes the receipt before an earlier one", async ({ page }) => {
  await shown(page);
  await expect(receipt(page)).toContainText("verified");
  await page.getByRole("button", { name: "Why does the CSV import drop rows?", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1 })).toContainText("CSV");
  await expect(receipt(page)).toContainText("verified");
  await page.getByRole("button", { name: "Guitar tuner: pitch detection", exact: true }).click();
  await expect(openings(page).getByRole("button", { name: "1 earlier" })).toBeVisible();
  expect(await asked(page)).toEqual(["c0 opened", "c1 opened", "c0 opened"]);
});

test("the text is read instead where somebody asks for it, and the receipt says so", async ({ page }) => {
  await shown(page, { hold: "replaying", replay_ms: 400 });
  await receipt(page).click();
  await expect(inspector(page)).toContainText("Rebuilds from the text. About 18.6 s at 220 tokens/s.");
  await page.getByRole("button", { name: "Replay instead" }).click();
  await expect(openings(page)).toContainText("Replaying 1,024 of 4,096 · 220 tokens/s · about 14 s left");
  await expect(openings(page)).toContainText("Because you asked for it");
  // The line that had the focus is gone; the one in its place has it.
  await expect(openings(page).getByRole("button", { name: "Cancel" })).toBeFocused();
  expect(await asked(page)).toEqual(["c0 opened", "c0 replay"]);
  await release(page);
  await expect(receipt(page)).toContainText("Replayed 4,096 tokens in 18.6 s · you asked for it");
  await expect(receipt(page)).toBeFocused();
  await expect(openings(page).getByRole("button", { name: "1 earlier" })).toBeVisible();
  await receipt(page).click();
  await expect(inspector(page).getByRole("button", { name: "Replay instead" })).toHaveCount(0);
});

const troubles = [
  {
    opening: "integrity",
    en: "the snapshot was damaged and has been discarded",
    zh: "快照已损坏，已丢弃",
    failed: 1,
  },
  {
    opening: "identity.model",
    en: "the model file changed since this snapshot",
    zh: "此快照之后模型文件已更改",
    failed: 2,
  },
  {
    opening: "challenge",
    en: "the restored state did not answer as it did",
    zh: "快照未通过质询，已停用",
    failed: 5,
  },
  {
    opening: "always_replay",
    en: "this conversation is set to be replayed",
    zh: "此对话已设为每次重放",
    failed: 0,
  },
];
for (const { opening, en, zh, failed } of troubles) {
  test(`a receipt of trouble says why and what to do: ${opening}`, async ({ page }) => {
    for (const language of ["en", "zh-CN"]) {
      await shown(page, { language, opening, replay_ms: 100 });
      await expect(receipt(page)).toContainText(language === "en" ? en : zh);
      await receipt(page).click();
      await expect(inspector(page).locator("dt")).toHaveText(
        language === "en" ? ["Why", "What to do"] : ["原因", "如何处理"],
      );
      await expect(inspector(page).locator("dd").last()).toHaveText(/[.。]$/u);
      await expect(inspector(page).locator("tbody tr")).toHaveCount(failed);
      if (failed > 0)
        await expect(inspector(page).locator("tbody tr").last().locator(".loss")).toHaveCount(1);
      await expect(inspector(page)).not.toContainText(/verified|已验证|All five passed/u);
      await page.screenshot({ path: `../target/e2e/ui/receipt-${opening}-${language}.png` });
      await fits(page);
    }
  });
}

test("a receipt is copied as text, with its measured values", async ({ page }) => {
  await shown(page);
  await receipt(page).click();
  await page.getByRole("button", { name: "Copy receipt as text" }).click();
  const copied = await page.evaluate(
    () => window.__fake?.calls.find(({ command }) => command === "copy_text")?.given[0],
  );
  for (const words of ["Resumed 4,096 tokens in 83 ms · verified", "Challenge: passed", "537 MB", "18.6 s"]) {
    expect(copied).toContain(words);
  }
});

test("a reading is cancelled, stays so, and is taken up again", async ({ page }) => {
  const complaints = await shown(page, { opening: "no_snapshot", hold: "replaying", replay_ms: 400 });
  await expect(openings(page)).toContainText("Replaying 1,024 of 4,096");
  await expect(page.getByRole("progressbar")).toHaveAttribute("aria-valuenow", "25");
  await audit(page);
  const before = await top(page);
  await openings(page).getByRole("button", { name: "Cancel" }).click();
  await expect(openings(page)).toContainText("Not read yet. The next message reads the rest.");
  expect(await top(page)).toBe(before);
  await composer(page).click();
  await composer(page).pressSequentially("Hm");
  await page.waitForTimeout(600);
  expect(await asked(page)).toEqual(["c0 opened"]);
  await page.getByRole("button", { name: "Read it now" }).click();
  await expect(receipt(page)).toContainText("Replayed 4,096 tokens");
  expect(await asked(page)).toEqual(["c0 opened", "c0 composing"]);
  expect(complaints).toEqual([]);
});

test("who leaves while it is read stops it, and nothing is left on the screen", async ({ page }) => {
  await shown(page, { opening: "no_snapshot", hold: "replaying" });
  await expect(openings(page)).toContainText("Replaying");
  await page.keyboard.press("Control+,");
  await expect
    .poll(() => page.evaluate(() => window.__fake?.calls.map(({ command }) => command)))
    .toContain("stop_resume");
  await page.keyboard.press("Escape");
  await expect(page.locator("article.it").last()).toBeVisible();
  await expect(page.getByText("Not read yet")).toHaveCount(0);
});

test("a message that is sent while it is read waits in its place, and the receipt takes the line's", async ({
  page,
}) => {
  await shown(page, { opening: "no_snapshot", hold: "replaying", answer: "Yes.", rate: 2000 });
  await expect(openings(page)).toContainText("Replaying");
  await composer(page).fill("And then?");
  await page.keyboard.press("Enter");
  await expect(page.getByText("Waiting until the conversation is ready")).toBeVisible();
  await expect(openings(page)).toContainText("Replaying");
  await expect(openings(page).getByRole("button", { name: "Cancel" })).toHaveCount(0);
  const question = page.locator("article.you").last();
  // Where it lies in the flow, wherever that is scrolled to.
  const place = () =>
    log(page).evaluate((box) => {
      const own = [...box.querySelectorAll("article.you")].at(-1);
      return Math.round((own?.getBoundingClientRect().top ?? 0) + box.scrollTop);
    });
  await expect(question).toContainText("And then?");
  const before = await place();
  await release(page);
  await expect(page.locator("article.it").last()).toContainText("Yes.");
  await expect(receipt(page)).toContainText("Replayed 4,096 tokens");
  expect(await place()).toBe(before);
});

test("a model is loaded for who turns to the composer, not for who looks", async ({ page }) => {
  await shown(page, { cold: true });
  await expect.poll(() => asked(page)).toEqual(["c0 opened"]);
  await page.waitForTimeout(300);
  await expect(page.locator("footer.status")).toContainText("Not loaded");
  // The page gives the composer the focus by itself.
  await page.getByRole("button", { name: "Why does the CSV import drop rows?", exact: true }).click();
  await expect(composer(page)).toBeFocused();
  await expect.poll(() => asked(page)).toEqual(["c0 opened", "c1 opened"]);
  await page.keyboard.press("Control+,");
  await expect(composer(page)).toHaveCount(0);
  await page.keyboard.press("Escape");
  await expect(composer(page)).toBeFocused();
  await expect.poll(() => asked(page)).toEqual(["c0 opened", "c1 opened", "c1 opened"]);
  // The window loses the focus and gets it back.
  await composer(page).evaluate((area) => {
    area.dispatchEvent(new FocusEvent("blur"));
    area.dispatchEvent(new FocusEvent("focus"));
  });
  await page.waitForTimeout(200);
  expect((await asked(page)).slice(3)).toEqual([]);
  await composer(page).click();
  await expect(receipt(page)).toContainText("verified");
  expect((await asked(page)).slice(3)).toEqual(["c1 composing"]);
});

test("a reader hears how a conversation was made ready, once", async ({ page }) => {
  await shown(page, { opening: "no_snapshot", replay_ms: 1200 });
  await expect(receipt(page)).toContainText("Replayed");
  const lines = await page.locator("[aria-live=polite] p").allTextContents();
  expect(lines.map((line) => line.replace(/\d+([,.]\d+)*/gu, "#"))).toEqual([
    "Replaying # of #. Because there is no snapshot of this conversation",
    "Replayed # tokens in # s · there is no snapshot of this conversation",
  ]);
});

test("a failure says what the next message does, and is tried again", async ({ page }) => {
  await shown(page, { opening: "failed" });
  await expect(openings(page)).toContainText("It could not be made ready. The next message tries again.");
  await page.evaluate(() => {
    if (window.__fake) window.__fake.play.opening = "restored";
  });
  await openings(page).getByRole("button", { name: "Try again" }).click();
  await expect(receipt(page)).toContainText("verified");
});

test("rows say what opens instantly, and why the others do not", async ({ page }) => {
  const complaints = await shown(page);
  const row = (title: string) => page.getByRole("button", { name: title, exact: true });
  await expect(page.locator(".conv .instant")).not.toHaveCount(0);
  await expect(row("Guitar tuner: pitch detection").locator(".instant")).toHaveCount(1);
  await expect(row("Guitar tuner: pitch detection")).toHaveAccessibleDescription("Opens instantly");
  const landlord = row("Letter to the landlord");
  await expect(landlord.locator(".instant")).toHaveCount(0);
  const why = "Is read again when it is opened: there is no snapshot of this conversation";
  await expect(landlord).toHaveAccessibleDescription(why);
  await landlord.hover();
  await expect(page.locator(".tooltip")).toContainText(why);
  await page.mouse.move(700, 300);
  await expect(page.locator(".tooltip")).toHaveCount(0);
  // With the keyboard too.
  await row("Guitar tuner: pitch detection").focus();
  await page.keyboard.press("ArrowDown");
  await expect(page.locator(".tooltip")).toContainText("Opens instantly");
  await page.keyboard.press("ArrowDown");
  await expect(page.locator(".tooltip")).toContainText(why);
  await page.screenshot({ path: "../target/e2e/ui/marks.png" });
  await audit(page);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await expect(page.locator(".tooltip")).toHaveCount(0);
  expect(complaints).toEqual([]);
});

test("marks are asked for of the rows in sight only, in batches", async ({ page }) => {
  await shown(page, { conversations: 5000 });
  await expect(page.locator(".conv .instant")).not.toHaveCount(0);
  const batches = () =>
    page.evaluate(() =>
      (window.__fake?.calls ?? [])
        .filter(({ command }) => command === "marks")
        .map(({ given }) => (given[0] as string[]).length),
    );
  const before = (await batches()).length;
  await page.getByRole("list", { name: "Conversations" }).hover();
  for (let at = 0; at < 40; at += 1) await page.mouse.wheel(0, 500);
  await page.waitForTimeout(500);
  const after = await batches();
  expect(Math.max(...after)).toBeLessThanOrEqual(200);
  expect(after.length - before).toBeLessThan(30);
});

test("the status bar says when the state of what is shown was saved", async ({ page }) => {
  await shown(page, { rate: 2000, answer: "Yes." });
  const status = page.locator("footer.status");
  await expect(status).not.toContainText("Snapshot saved");
  await composer(page).fill("Go on");
  await page.keyboard.press("Enter");
  await expect(status).toContainText(/Snapshot saved \d\d:\d\d/u);
  await page.getByRole("button", { name: "Letter to the landlord", exact: true }).click();
  await expect(status).not.toContainText("Snapshot saved");
});

test("between two models it says what each costs, and one of them is chosen", async ({ page }) => {
  const complaints = await shown(page, { crossing: "known" });
  const card = page.getByRole("region", { name: /wrote the last answer/u });
  await expect(card).toContainText("loads in about 3 s, then opens instantly");
  await expect(card).toContainText("reads 4,096 tokens, about 18 s");
  await page.waitForTimeout(600);
  await composer(page).click();
  await page.waitForTimeout(100);
  expect(await asked(page)).toEqual([]);
  await audit(page);
  await page.screenshot({ path: "../target/e2e/ui/crossing.png" });
  await card.getByRole("button", { name: /^Use SmolLM2/u }).click();
  await expect(card).toHaveCount(0);
  await expect(composer(page)).toBeFocused();
  await expect(receipt(page)).toContainText("verified");
  expect(await asked(page)).toEqual(["c0 composing"]);
  await expect(page.locator(".composer")).toContainText("SmolLM2");
  expect(complaints).toEqual([]);
});

test("going on with the chosen model is remembered for the conversation, until another is chosen", async ({
  page,
}) => {
  await shown(page, { crossing: "known" });
  const card = page.getByRole("region", { name: /wrote the last answer/u });
  await card.getByRole("button", { name: /^Continue with Llama/u }).click();
  await expect(card).toHaveCount(0);
  await page.getByRole("button", { name: "Why does the CSV import drop rows?", exact: true }).click();
  await expect(card).toBeVisible();
  await page.getByRole("button", { name: "Guitar tuner: pitch detection", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1 })).toContainText("Guitar");
  await expect(receipt(page)).toBeVisible();
  await expect(card).toHaveCount(0);
});

test("a cost that was never measured is said to be unknown", async ({ page }) => {
  await shown(page, { crossing: "unknown", unmeasured: true });
  const card = page.getByRole("region", { name: /wrote the last answer/u });
  await expect(card).toContainText("not measured here yet");
  await expect(card).not.toContainText(/\d s\b/u);
  await page.locator("article.you").last().hover();
  await page.getByRole("button", { name: "Edit" }).last().click();
  await expect(page.locator(".cost-line")).toHaveText(/1,024 tokens again, time not measured here yet/u);
});

test("an edit says what has to be read again, and is not asked for with every key", async ({ page }) => {
  await shown(page);
  await expect(receipt(page)).toBeVisible();
  await page.locator("article.you").last().hover();
  await page.getByRole("button", { name: "Edit" }).last().click();
  await expect(page.locator(".cost-line")).toHaveText("Reading 1,024 tokens again, about 4.7 s");
  const calls = () => page.evaluate(() => window.__fake?.calls.map(({ command }) => command));
  const before = await calls();
  await page.getByRole("textbox", { name: "Edit your message" }).pressSequentially(" and on a watch");
  await page.waitForTimeout(400);
  expect(await calls()).toEqual(before);
  await audit(page);
});

for (const [name, wish] of Object.entries({
  crossing: { crossing: "unknown" },
  replaying: { opening: "identity.model", hold: "replaying" },
  receipt: { opening: "challenge", replay_ms: 100 },
})) {
  for (const language of ["en", "zh-CN"]) {
    test(`${name} fits the smallest window at 200 %, ${language}`, async ({ page }) => {
      await page.setViewportSize({ width: 880, height: 600 });
      const complaints = await shown(page, { ...wish, language, theme: "light", scale: 200 });
      if (name === "crossing") {
        const card = page.getByRole("region", { name: /wrote the last answer|上一条回答由/u });
        await expect(card).toBeVisible();
        const height = (await card.boundingBox())?.height ?? Infinity;
        expect(height).toBeLessThan(600 / 3);
        // What is not in sight is reached by scrolling in it, also with the keyboard.
        const last = card.getByRole("button").last();
        await last.focus();
        await expect(last).toBeInViewport();
      } else if (name === "replaying") {
        await expect(page.getByRole("progressbar")).toBeVisible();
        await expect(openings(page).getByRole("button")).toBeInViewport();
      } else {
        await receipt(page).click();
        await expect(inspector(page).getByRole("heading")).toBeInViewport();
      }
      expect((await log(page).boundingBox())?.height ?? 0).toBeGreaterThan(50);
      await fits(page);
      await audit(page);
      await page.screenshot({ path: `../target/e2e/ui/promise-${name}-${language}-200-percent.png` });
      expect(complaints).toEqual([]);
    });
  }
}
