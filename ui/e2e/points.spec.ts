// What a person settles for one conversation: named points, choices, instructions.

import { expect, type Page, test } from "@playwright/test";
import { audit, fits, open } from "./page";

const you = (page: Page) => page.locator("article.you");
const it = (page: Page) => page.locator("article.it");
const called = (page: Page, command: string) =>
  page.evaluate(
    (name) => (window.__fake?.calls ?? []).filter((call) => call.command === name).map((call) => call.given),
    command,
  );

async function header(page: Page, item: RegExp): Promise<void> {
  await page.locator("header").getByRole("button", { name: "More" }).click();
  await page.getByRole("menuitem", { name: item }).click();
}

/** Names a message through its menu. */
async function name(page: Page, turn: ReturnType<typeof you>, as: string): Promise<void> {
  await turn.getByRole("button", { name: "More" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("menuitem", { name: "Name this point…" }).click();
  await page.getByRole("textbox", { name: "Name of this point" }).fill(as);
  await page.keyboard.press("Enter");
  await expect(turn).toContainText(as);
}

test("a message is named, renamed and loses its name by the keys alone", async ({ page }) => {
  const complaints = await open(page, { language: "en" });
  await expect(it(page).last()).toBeVisible();
  const turn = you(page).last();
  const more = turn.getByRole("button", { name: "More" });
  await more.focus();
  await page.keyboard.press("Enter");
  const menu = page.getByRole("menu", { name: "More" });
  await expect(menu.getByRole("menuitem", { name: "Copy" })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(more).toBeFocused();

  await page.keyboard.press("Enter");
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  const field = page.getByRole("textbox", { name: "Name of this point" });
  await expect(field).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(field).toHaveCount(0);
  await expect(more).toBeFocused();

  await page.keyboard.press("Enter");
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await page.keyboard.type("x".repeat(90));
  await expect(field).toHaveValue("x".repeat(80));
  await expect(turn).toContainText("0 characters left");
  await field.fill("   ");
  await expect(turn.getByRole("button", { name: "Save" })).toBeDisabled();
  await field.fill("  Before the port ");
  await page.keyboard.press("Enter");
  await expect(more).toBeFocused();
  await expect(turn).toContainText("Before the port");
  await expect(turn).toContainText("no snapshot reaches it yet");
  expect(await called(page, "name_checkpoint")).toEqual([["c0.m4", "Before the port"]]);

  await page.keyboard.press("Enter");
  await page.getByRole("menuitem", { name: "Rename this point…" }).click();
  await expect(field).toHaveValue("Before the port");
  await field.fill("After it");
  await page.keyboard.press("Enter");
  await expect(turn).toContainText("After it");

  await more.click();
  await page.getByRole("menuitem", { name: "Remove the name" }).click();
  await expect(turn).not.toContainText("After it");
  await page.getByRole("button", { name: "Undo" }).click();
  await expect(turn).toContainText("After it");
  expect(complaints).toEqual([]);
});

test("a press on the menu's button closes it again", async ({ page }) => {
  await open(page, { language: "en" });
  const more = it(page).last().getByRole("button", { name: "More" });
  await more.click();
  await expect(page.getByRole("menu")).toBeVisible();
  await more.click();
  await expect(page.getByRole("menu")).toHaveCount(0);
  // It is not clipped by the conversation, also at its end.
  await more.click();
  await expect(page.getByRole("menuitem", { name: "Name this point…" })).toBeInViewport({ ratio: 1 });
});

test("jumping shows the conversation up to there, what is written begins a branch, and there is a way back", async ({
  page,
}) => {
  // All of it is in the page.
  await page.setViewportSize({ width: 1280, height: 1700 });
  await open(page, { language: "en", rate: 2000, answer: "Branched." });
  await expect(it(page)).toHaveCount(3);
  await name(page, it(page).first(), "First answer");
  await expect(it(page).first()).toContainText("its snapshot is pinned");
  await header(page, /Named points/);
  const dialog = page.getByRole("dialog", { name: "Named points" });
  await expect(dialog).toContainText("its snapshot is pinned");
  await dialog.getByRole("button", { name: /^Jump to First answer/ }).click();
  await expect(dialog).toHaveCount(0);
  await expect(it(page)).toHaveCount(1);
  const line = page.getByRole("group", { name: /You are at/ });
  await expect(line).toContainText("You are at “First answer”. What you write here begins a branch.");
  await expect(line).toBeInViewport();
  // Said to who does not see it, and the focus is where it was before the dialog.
  await expect(page.locator("[aria-live=polite]")).toContainText("You are at “First answer”.");
  await expect(page.locator("header").getByRole("button", { name: "More" })).toBeFocused();

  await line.getByRole("button", { name: "Back to the end" }).click();
  await expect(it(page)).toHaveCount(3);
  await expect(line).toHaveCount(0);

  await header(page, /Named points/);
  await dialog.getByRole("button", { name: /^Jump to First answer/ }).click();
  await page.getByRole("textbox", { name: "Message" }).fill("Another way");
  await page.keyboard.press("Enter");
  await expect(it(page).last()).toContainText("Branched.");
  await expect(line).toHaveCount(0);
  await expect(it(page)).toHaveCount(2);
  await expect(you(page).last().getByRole("group", { name: "Version 2 of 2" })).toBeVisible();
});

test("a conversation that was left at a named point says so when it is opened again", async ({ page }) => {
  await open(page, { language: "en" });
  await expect(it(page).last()).toBeVisible();
  // As from an earlier session: the page has not seen the jump.
  await page.evaluate(async () => {
    await window.__fake?.nameCheckpoint("c1.m1", "Left here");
    await window.__fake?.jumpTo("c1.m1");
  });
  await page.getByRole("button", { name: "Why does the CSV import drop rows?", exact: true }).click();
  const line = page.getByRole("group", { name: /You are at/ });
  await expect(line).toContainText("You are at “Left here”.");
  await expect(line).not.toContainText("begins a branch");
  await line.getByRole("button", { name: "Back to the end" }).click();
  await expect(it(page)).toHaveCount(3);
  await expect(line).toHaveCount(0);
});

test("the list of named points: rename, remove with a way back, and nothing yet", async ({ page }) => {
  await open(page, { language: "en" });
  await header(page, /Named points/);
  const dialog = page.getByRole("dialog", { name: "Named points" });
  await expect(dialog).toContainText("No message has a name yet.");
  await page.keyboard.press("Escape");
  await expect(page.locator("header").getByRole("button", { name: "More" })).toBeFocused();

  await name(page, it(page).first(), "One");
  await name(page, you(page).last(), "Two");
  await header(page, /Named points… 2|Named points…\s*2/);
  await dialog.getByRole("button", { name: "Rename “One”" }).click();
  const field = dialog.getByRole("textbox", { name: "Name of this point" });
  await field.fill("Uno");
  // Escape ends the renaming and not the dialog.
  await page.keyboard.press("Escape");
  await expect(dialog.getByRole("button", { name: "Rename “One”" })).toBeFocused();
  await page.keyboard.press("Enter");
  await field.fill("Uno");
  await page.keyboard.press("Enter");
  await expect(dialog.getByRole("button", { name: "Rename “Uno”" })).toBeFocused();

  await dialog.getByRole("button", { name: "Remove the name “Two”" }).click();
  await expect(dialog).toContainText("“Two” was removed. The message stays.");
  await expect(dialog.getByRole("button", { name: "Undo" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(dialog.getByRole("button", { name: /^Jump to Two/ })).toBeFocused();
  await dialog.getByRole("button", { name: "Close" }).click();
  await expect(you(page).last()).toContainText("Two");
  await expect(it(page).first()).toContainText("Uno");
});

test("nothing is jumped to while an answer is written, and naming does not disturb it", async ({ page }) => {
  await open(page, { language: "en", hold: "answering", rate: 400 });
  await name(page, page.locator("[data-message='c0.m5']"), "Before");
  await page.getByRole("textbox", { name: "Message" }).fill("Go on");
  await page.keyboard.press("Enter");
  await expect(it(page).last()).toContainText("hardest");
  const written = (await it(page).last().locator(".markdown, p").first().innerText()).slice(0, 30);
  await name(page, you(page).last(), "While it answers");
  await expect(it(page).last()).toContainText(written);
  await expect(page.getByRole("button", { name: /^Stop/ })).toBeVisible();
  await header(page, /Named points/);
  const dialog = page.getByRole("dialog", { name: "Named points" });
  await expect(dialog).toContainText("Jumping is possible when the answer is complete.");
  await dialog.getByRole("button", { name: /^Jump to Before/ }).focus();
  await page.keyboard.press("Enter");
  expect(await called(page, "jump_to")).toEqual([]);
  await page.keyboard.press("Escape");
  // Escape closed the dialog and did not stop the answer.
  expect(await called(page, "stop_turn")).toEqual([]);
});

test("choices of a conversation hold for it alone", async ({ page }) => {
  await open(page, { language: "en" });
  await header(page, /Conversation settings/);
  const dialog = page.getByRole("dialog", { name: "Conversation settings" });
  const replay = dialog.getByRole("switch", { name: "Always replay" });
  await expect(replay).toHaveAttribute("aria-checked", "false");
  await expect(dialog).toContainText("No snapshot of it is used or saved.");
  await replay.focus();
  await page.keyboard.press("Space");
  await expect(replay).toHaveAttribute("aria-checked", "true");
  await dialog.getByRole("switch", { name: "Always CPU" }).click();
  expect(await called(page, "choose_for_conversation")).toEqual([
    ["c0", { always_replay: true, always_cpu: false }],
    ["c0", { always_replay: true, always_cpu: true }],
  ]);
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Why does the CSV import drop rows?", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Why does the CSV import drop rows?");
  await header(page, /Conversation settings/);
  await expect(replay).toHaveAttribute("aria-checked", "false");
});

test("other instructions: the cost first, then a branch beside the one before", async ({ page }) => {
  const complaints = await open(page, { language: "en" });
  await header(page, /Conversation settings/);
  const dialog = page.getByRole("dialog", { name: "Conversation settings" });
  const save = dialog.getByRole("button", { name: "Save as a new branch" });
  const field = dialog.getByRole("textbox", { name: "Instructions" });
  await expect(save).toBeDisabled();
  await field.fill("Answer in one paragraph.");
  await expect(dialog).toContainText(/Reading 4,096 tokens again, about \d+ s\./);
  await expect(dialog).toContainText("Nothing is overwritten");
  await save.click();
  await expect(dialog).toHaveCount(0);
  expect(await called(page, "change_instructions")).toEqual([["c0", "Answer in one paragraph."]]);
  await expect(page.getByText("Saved as a new branch. The one before stays.")).toBeVisible();
  await expect(it(page)).toHaveCount(3);

  const log = page.getByRole("log");
  await log.focus();
  await page.keyboard.press("Home");
  await expect(you(page).first().getByRole("group", { name: "Version 2 of 2" })).toBeVisible();
  await header(page, /Conversation settings/);
  await expect(field).toHaveValue("Answer in one paragraph.");
  await page.keyboard.press("Escape");
  await you(page).first().getByRole("button", { name: "Previous version" }).click();
  await expect(you(page).first().getByRole("group", { name: "Version 1 of 2" })).toBeVisible();
  await header(page, /Conversation settings/);
  await expect(field).toHaveValue("");
  expect(complaints).toEqual([]);
});

test("instructions that could not be saved are still there", async ({ page }) => {
  await open(page, { language: "en", failing: "change_instructions" });
  await header(page, /Conversation settings/);
  const dialog = page.getByRole("dialog", { name: "Conversation settings" });
  await dialog.getByRole("textbox", { name: "Instructions" }).fill("Precious words");
  await dialog.getByRole("button", { name: "Save as a new branch" }).click();
  await expect(dialog.getByRole("textbox", { name: "Instructions" })).toHaveValue("Precious words");
  await expect(dialog).toContainText("The engine stopped (signal 9).");
});

for (const language of ["en", "zh-CN"]) {
  test(`the dialogs in every theme and size, ${language}`, async ({ page }) => {
    const complaints = await open(page, { language });
    await expect(it(page).last()).toBeVisible();
    await page.evaluate(async () => {
      await window.__fake?.nameCheckpoint(
        "c0.m1",
        "A name that goes on for as long as one may, which is 80 characters, no more. 80.",
      );
      await window.__fake?.nameCheckpoint("c0.m5", "京都");
    });
    await page.locator(".conv").nth(1).click();
    await page.locator(".conv").first().click();
    for (const item of [1, 2]) {
      await page.locator("header [aria-haspopup=menu]").click();
      await page.getByRole("menuitem").nth(item).click();
      await expect(page.getByRole("dialog")).toBeVisible();
      for (const theme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme: theme });
        for (const size of [
          { width: 880, height: 600 },
          { width: 1280, height: 800 },
        ]) {
          await page.setViewportSize(size);
          await fits(page);
          await audit(page);
          await page.screenshot({
            path: `../target/e2e/ui/dialog-${item}-${language}-${theme}-${size.width}.png`,
          });
        }
      }
      await page.keyboard.press("Escape");
    }
    expect(complaints).toEqual([]);
  });
}

test("at 200 % in the smallest window the dialogs scroll, and nothing is cut off", async ({ page }) => {
  await page.setViewportSize({ width: 880, height: 600 });
  await open(page, { language: "en", scale: 200 });
  await expect(it(page).last()).toBeVisible();
  await header(page, /Conversation settings/);
  await page.getByRole("textbox", { name: "Instructions" }).fill("Short.");
  const save = page.getByRole("button", { name: "Save as a new branch" });
  await save.scrollIntoViewIfNeeded();
  await expect(save).toBeInViewport({ ratio: 1 });
  await fits(page);
  await audit(page);
});
