// The whole window without a pointer.

import { expect, type Page, test } from "@playwright/test";
import { open } from "./page";

const focused = (page: Page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return element?.getAttribute("aria-label") ?? element?.textContent?.trim() ?? "";
  });

async function answered(page: Page): Promise<void> {
  await expect(page.getByRole("button", { name: /^Send/ })).toBeVisible();
}

test("from the list to an answer and back", async ({ page }) => {
  const complaints = await open(page, { language: "en", rate: 2000, answer: "Short answer." });
  const composer = page.getByRole("textbox", { name: "Message" });
  await expect(composer).toBeFocused();

  // Write, send, stop being asked to wait.
  await page.keyboard.type("First line");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("second line");
  await page.keyboard.press("Enter");
  await expect(page.locator("article.you").last()).toContainText("First line\nsecond line");
  await expect(page.locator("article.it").last()).toContainText("Short answer.");
  await answered(page);
  await expect(composer).toHaveValue("");

  // The last own message, by the arrow; Escape leaves it as it was.
  await page.keyboard.press("ArrowUp");
  const edit = page.getByRole("textbox", { name: "Edit your message" });
  await expect(edit).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(edit).toHaveCount(0);
  expect(await focused(page)).toBe("Edit");

  // Edited, it has two versions; Alt and an arrow step between them.
  await page.keyboard.press("Enter");
  await edit.fill("Said otherwise");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("group", { name: "Version 2 of 2" })).toBeVisible();
  await answered(page);
  await page.keyboard.press("Alt+ArrowLeft");
  await expect(page.getByRole("group", { name: "Version 1 of 2" })).toBeVisible();
  await page.keyboard.press("Alt+ArrowRight");
  await expect(page.getByRole("group", { name: "Version 2 of 2" })).toBeVisible();
  expect(complaints).toEqual([]);
});

test("the list of conversations", async ({ page }) => {
  await open(page, { language: "en" });
  const list = page.getByRole("list", { name: "Conversations" });
  const row = (title: string) => list.getByRole("button", { name: title, exact: true });
  await expect(row("Guitar tuner: pitch detection")).toHaveAttribute("aria-current", "page");
  await row("Guitar tuner: pitch detection").focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await expect(row("Letter to the landlord")).toBeFocused();
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Why does the CSV import drop rows?");

  // Rename in place.
  await row("Why does the CSV import drop rows?").focus();
  await page.keyboard.press("F2");
  await page.keyboard.type("CSV rows");
  await page.keyboard.press("Enter");
  await expect(row("CSV rows")).toBeFocused();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("CSV rows");

  // Delete asks nothing, and has a way back.
  await page.keyboard.press("Delete");
  await expect(row("CSV rows")).toHaveCount(0);
  await expect(row("Letter to the landlord")).toBeFocused();
  await page.getByRole("button", { name: "Undo" }).focus();
  await page.keyboard.press("Enter");
  await expect(row("CSV rows")).toBeVisible();

  // The menu of a row: the arrows move in it, Escape gives the focus back.
  await row("CSV rows").focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("menuitem", { name: /Rename/ })).toBeFocused();
  await page.keyboard.press("ArrowDown");
  await expect(page.getByRole("menuitem", { name: /Delete/ })).toBeFocused();
  await page.keyboard.press("Escape");
  expect(await focused(page)).toBe("More for CSV rows");

  // To the far end and back.
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("End");
  await expect(list.locator(":focus")).toContainText("39");
  await page.keyboard.press("Home");
  await expect(list.locator(":focus")).toContainText("Guitar tuner");
});

test("search, settings, sidebar, new conversation", async ({ page }) => {
  await open(page, { language: "en", states: true });
  await page.keyboard.press("Control+k");
  const field = page.getByRole("combobox", { name: "Search all messages" });
  await expect(field).toBeFocused();
  await page.keyboard.type("octave");
  await expect(page.getByRole("option").first()).toHaveAttribute("aria-selected", "true");
  await page.keyboard.press("ArrowDown");
  await expect(page.getByRole("option").nth(1)).toHaveAttribute("aria-selected", "true");
  await page.keyboard.press("Enter");
  await expect(page.locator("article.it:focus")).toContainText("octave is the one error");

  await page.keyboard.press("Control+,");
  await expect(page.getByRole("heading", { level: 1, name: "General" })).toBeVisible();
  await page.getByRole("radio", { name: "简体中文" }).focus();
  await page.keyboard.press("Space");
  await expect(page.getByRole("heading", { level: 1, name: "通用" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "zh-CN");
  await page.getByRole("radio", { name: "English" }).focus();
  await page.keyboard.press("Space");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("textbox", { name: "Message" })).toBeFocused();

  await page.getByRole("button", { name: "Hide sidebar (Ctrl B)" }).focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("navigation", { name: "Conversations" })).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Show sidebar (Ctrl B)" })).toBeFocused();
  await page.keyboard.press("Control+b");
  await expect(page.getByRole("navigation", { name: "Conversations" })).toBeVisible();
  await page.keyboard.press("Control+n");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("New conversation");
  await expect(page.getByRole("textbox", { name: "Message" })).toBeFocused();
});

test("Tab reaches everything in the order of the page, with a ring", async ({ page }) => {
  await open(page, { language: "en", states: true });
  await page.getByRole("button", { name: "Hide sidebar (Ctrl B)" }).focus();
  const seen: string[] = [];
  for (let at = 0; at < 40; at += 1) {
    await page.keyboard.press("Tab");
    const ring = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === null || element === document.body) return "none";
      const own = getComputedStyle(element);
      const box = getComputedStyle(element.closest(".composer") ?? element);
      return own.outlineStyle !== "none" || box.outlineStyle !== "none"
        ? "ring"
        : element.outerHTML.slice(0, 120);
    });
    const name = await focused(page);
    if (ring === "none") break;
    expect(ring).toBe("ring");
    seen.push(name);
  }
  for (const wanted of [
    "New conversation (Ctrl N)",
    "Settings",
    "More",
    "Copy",
    "Regenerate",
    "Message",
    "Send (Enter)",
  ]) {
    expect(seen).toContain(wanted);
  }
});

test("targets are at least 24 px", async ({ page }) => {
  await open(page, { language: "en", states: true, interrupted: 1 });
  await expect(page.locator("article.it").last()).toBeVisible();
  const small = await page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>("button, input:not(.vh), textarea, [role=option]")]
      .map((element) => ({ box: element.getBoundingClientRect(), html: element.outerHTML.slice(0, 100) }))
      .filter(({ box }) => box.width > 0 && (box.width < 24 || box.height < 24))
      .map(({ html, box }) => `${Math.round(box.width)}×${Math.round(box.height)} ${html}`),
  );
  expect(small).toEqual([]);
});
