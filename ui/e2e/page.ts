import { expect, type Page } from "@playwright/test";
import axe from "axe-core";

declare const window: Window & { axe: typeof axe };

/** What the address asks the fake to play. */
export type Wish = Record<string, string | number | boolean>;

/** Opens the page on the fake, and fails on whatever the browser complains of: the content policy above all. */
export async function open(page: Page, wish: Wish = {}): Promise<string[]> {
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  const query = new URLSearchParams(Object.entries(wish).map(([name, value]) => [name, String(value)]));
  await page.goto(`/?${query}`);
  await expect(page.locator("footer.status")).toBeVisible();
  return complaints;
}

/** Fails on anything serious that axe finds. */
export async function audit(page: Page): Promise<void> {
  if (await page.evaluate(() => !("axe" in window))) await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, { resultTypes: ["violations"], preload: false }),
  );
  const bad = violations.filter((one) => one.impact === "serious" || one.impact === "critical");
  const told = bad.map(
    (one) => `${one.id}: ${one.help}\n  ${one.nodes.map((node) => node.html).join("\n  ")}`,
  );
  expect(told).toEqual([]);
}

/** Fails where the page is wider than the window. */
export async function fits(page: Page): Promise<void> {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(over).toBeLessThanOrEqual(0);
}
