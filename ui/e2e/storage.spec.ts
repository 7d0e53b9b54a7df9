// Settings › Storage and Hardware: what is kept, what it takes, what can be relied on.

import { expect, type Page, test } from "@playwright/test";
import { audit, fits, open, type Wish } from "./page";

/** Opens a page of the settings; the sidebar is a drawer where there is little room. */
async function settings(page: Page, wish: Wish, name: string): Promise<string[]> {
  const complaints = await open(page, { language: "en", ...wish });
  await page.keyboard.press("Control+,");
  const link = page.getByRole("navigation").getByRole("button", { name, exact: true });
  if ((await link.count()) === 0) await page.locator(".page-head .iconbtn").click();
  await link.click();
  await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
  return complaints;
}

const storage = (page: Page, wish: Wish = {}) => settings(page, wish, "Storage");
const grid = (page: Page) => page.getByRole("grid", { name: "Snapshots" });
/** Rows that are in the page, without the head. */
const rows = (page: Page) => grid(page).locator("[data-at]");
const called = (page: Page, command: string) =>
  page.evaluate(
    (name) => (window.__fake?.calls ?? []).filter((call) => call.command === name).map((call) => call.given),
    command,
  );

test("what is kept: its size, its limit, the room that is left, and each snapshot", async ({ page }) => {
  const complaints = await storage(page, { snapshots: 8 });
  const main = page.getByRole("main");
  await expect(main).toContainText("used by 8 snapshots");
  await expect(main).toContainText("limit, the default");
  await expect(main).toContainText("free on this disk");
  await expect(main).toContainText("Messages are never evicted.");
  await expect(rows(page)).toHaveCount(8);
  const first = rows(page).first();
  for (const text of ["Guitar tuner: pitch detection", "SmolLM2 135M Instruct", "625 MB", "4,767", "Today"]) {
    await expect(first).toContainText(text);
  }
  await expect(first).toContainText("11 minutes");
  // One that failed a check says which.
  await expect(page.getByRole("row", { name: /SQLite WAL/ })).toContainText(
    "Not used: the restored state did not answer as it did when it was saved",
  );

  // Sorted by what its head says.
  const firstTitle = () => rows(page).first().getByRole("button").first();
  await page.getByRole("columnheader", { name: "Size" }).getByRole("button").click();
  await expect(firstTitle()).toContainText("Reading notes: The Craftsman");
  await expect(page.getByRole("columnheader", { name: "Size" })).toHaveAttribute("aria-sort", "descending");
  await page.getByRole("columnheader", { name: "Snapshot age" }).getByRole("button").click();
  await expect(firstTitle()).toContainText("Guitar tuner");
  await expect(page.getByRole("columnheader", { name: "Size" })).toHaveAttribute("aria-sort", "none");

  // Its title opens the conversation.
  await page.getByRole("button", { name: "Sourdough, 78% hydration", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Sourdough, 78% hydration");
  expect(complaints).toEqual([]);
});

test("what changes meanwhile is shown", async ({ page }) => {
  await storage(page, { snapshots: 8 });
  await expect(rows(page)).toHaveCount(8);
  await page.evaluate(async () => {
    await window.__fake?.dropSnapshot("s0");
    window.__fake?.say({ kind: "saved", conversation: "c1", at: Date.now() });
  });
  await expect(rows(page)).toHaveCount(7);
  await expect(page.getByRole("main")).toContainText("used by 7 snapshots");
});

test("ten thousand snapshots: few rows in the page, every one within reach of the keys", async ({ page }) => {
  await storage(page, { snapshots: 10_000 });
  await expect(grid(page)).toHaveAttribute("aria-rowcount", "10001");
  expect(await rows(page).count()).toBeLessThan(60);

  await rows(page).first().getByRole("button").first().focus();
  await page.keyboard.press("ArrowDown");
  await expect(page.locator("[data-at='1'] .open")).toBeFocused();
  await page.keyboard.press("ArrowRight");
  await expect(page.locator("[data-at='1'] [aria-pressed]")).toBeFocused();
  await page.keyboard.press("End");
  await expect(page.locator("[data-at='9999'] [aria-pressed]")).toBeFocused();
  await expect(page.locator("[data-at='9999']")).toBeInViewport();
  await page.keyboard.press("PageUp");
  await expect(page.locator("[data-at='9999']:focus-within")).toHaveCount(0);
  await page.keyboard.press("Home");
  await expect(page.locator("[data-at='0'] [aria-pressed]")).toBeFocused();
  await expect(page.locator("[data-at='0']")).toBeInViewport();
  expect(await rows(page).count()).toBeLessThan(80);

  // The table is one stop of the Tab key, with the buttons of one row.
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("radio", { name: "f16" })).toBeFocused();

  // Rows that are only scrolled past are not asked for.
  const before = (await called(page, "list_snapshots")).length;
  await grid(page).evaluate(async (box) => {
    for (let at = 0; at < 40; at += 1) {
      box.scrollTop = at * 7000;
      await new Promise(requestAnimationFrame);
    }
  });
  await expect(rows(page).nth(20)).toContainText("MB");
  expect((await called(page, "list_snapshots")).length - before).toBeLessThan(15);
});

test("pins and drops, with their effect said first", async ({ page }) => {
  await storage(page, { snapshots: 8 });
  const row = rows(page).first();
  const pin = row.locator("[aria-pressed]");
  await expect(pin).toHaveAttribute("aria-pressed", "false");
  await pin.click();
  await expect(pin).toHaveAttribute("aria-pressed", "true");
  await expect(page.getByRole("main")).toContainText("3 pinned, never evicted");

  await page.getByRole("button", { name: "Drop the snapshot of Guitar tuner: pitch detection" }).click();
  const dialog = page.getByRole("dialog", { name: "Drop this snapshot?" });
  await expect(dialog).toContainText("Frees up to 625 MB");
  await expect(dialog).toContainText("has no other snapshot, its text is read next time, 4,767 tokens.");
  await expect(dialog).toContainText("No message is touched.");
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(
    page.getByRole("button", { name: "Drop the snapshot of Guitar tuner: pitch detection" }),
  ).toBeFocused();
  // Escape closed the dialog and nothing behind it.
  await expect(page.getByRole("heading", { level: 1, name: "Storage" })).toBeVisible();
  expect(await called(page, "drop_snapshot")).toEqual([]);

  await page.keyboard.press("Enter");
  await dialog.getByRole("button", { name: "Drop" }).click();
  await expect(rows(page)).toHaveCount(7);
  await expect(page.getByRole("main")).toContainText("1 snapshot removed, 625 MB freed");
  // The next one has taken its place, and the focus with it.
  await expect(page.locator("[data-at='0'] button").last()).toBeFocused();
});

test("all are cleared only after its size and effect were read, within the dialog", async ({ page }) => {
  await storage(page, { snapshots: 8 });
  await page.getByRole("button", { name: "Clear all…" }).click();
  const dialog = page.getByRole("dialog", { name: "Clear all 8 snapshots?" });
  await expect(dialog).toContainText(/Frees 5\.23 GB\. Conversations are read from their text next time/);
  await expect(dialog).toContainText("No message is touched.");
  await expect(dialog).toContainText("2 of them are pinned and go too.");
  // The focus begins on what does nothing, and stays within.
  const cancel = dialog.getByRole("button", { name: "Cancel" });
  const clear = dialog.getByRole("button", { name: "Clear 5.23 GB" });
  await expect(cancel).toBeFocused();
  await page.keyboard.press("Shift+Tab");
  await expect(clear).toBeFocused();
  await page.keyboard.press("Tab");
  await expect(cancel).toBeFocused();
  // The window's own keys do nothing behind it.
  await page.keyboard.press("Control+k");
  await expect(dialog).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Clear all…" })).toBeFocused();
  expect(await called(page, "clear_snapshots")).toEqual([]);

  await page.keyboard.press("Enter");
  await clear.click();
  await expect(page.getByRole("main")).toContainText("8 snapshots removed, 5.23 GB freed");
  await expect(page.getByRole("main")).toContainText("No snapshot is kept.");
});

test("a check of all shows how far it is, can be stopped, and leaves its result", async ({ page }) => {
  await storage(page, { snapshots: 30, damaged: 1, hold: "verifying" });
  const main = page.getByRole("main");
  const button = page.getByRole("button", { name: "Verify all" });
  await expect(rows(page)).toHaveCount(30);
  await button.focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("progressbar", { name: "Verify all" })).toBeVisible();
  await expect(main).toContainText("Verifying 18 of 30");
  await expect(page.getByRole("button", { name: "Stop" })).toBeFocused();
  await page.keyboard.press("Enter");
  await page.evaluate(() => window.__fake?.release());
  await expect(main).toContainText(/Stopped after 18 snapshots ·\s+17 whole\s+·\s+1 damaged and removed/);
  await expect(main).toContainText("read from the text next time");
  await expect(rows(page)).toHaveCount(29);
  await expect(button).toBeFocused();
  // It stays.
  await page.getByRole("columnheader", { name: "Size" }).getByRole("button").click();
  await expect(rows(page).first()).toContainText("Reading notes: The Craftsman");
  await expect(main).toContainText("1 damaged and removed");

  await button.click();
  await expect(main).toContainText(/29 whole\s+·\s+\d.* read in/);
  await expect(main).not.toContainText("Stopped after");
});

test("a limit that evicts nothing holds at once; one that evicts says what, and waits", async ({ page }) => {
  await storage(page, { snapshots: 8 });
  const slider = page.getByRole("slider", { name: "Limit of the snapshots" });
  const field = page.getByRole("textbox", { name: "Limit" });
  await expect(slider).toHaveAttribute("aria-valuetext", "20 GB");
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  await expect(slider).toHaveAttribute("aria-valuetext", "20.5 GB");
  expect(await called(page, "set_snapshot_budget")).toEqual([[20_500_000_000]]);
  await expect(field).toHaveValue("20.5");

  await field.fill("none");
  await expect(page.getByText("A number of GB, 0 or more")).toBeVisible();
  await page.keyboard.press("Enter");
  expect((await called(page, "set_snapshot_budget")).length).toBe(1);
  await field.fill("2");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("main")).toContainText(
    "A limit of 2 GB evicts up to 3.23 GB of snapshots, the longest unused first; pinned ones stay.",
  );
  await expect(page.getByRole("main")).toContainText("No message is touched.");
  expect((await called(page, "set_snapshot_budget")).length).toBe(1);
  await page.getByRole("button", { name: "Keep 20.5 GB" }).click();
  await expect(field).toHaveValue("20.5");

  await field.fill("0");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Set the limit to 0 GB" }).click();
  await expect(page.getByRole("main")).toContainText("With a limit of 0 no snapshot is kept");
  await expect(rows(page)).toHaveCount(2);
  await expect(page.getByRole("main")).toContainText("2 pinned, never evicted");

  await page.getByRole("button", { name: "Back to the default, 20 GB" }).click();
  await expect(page.getByRole("main")).toContainText("limit, the default");
  expect((await called(page, "set_snapshot_budget")).at(-1)).toEqual([null]);
  await expect(page.getByRole("button", { name: /Back to the default/ })).toHaveCount(0);
});

test("no room at all is a limit like any other", async ({ page }) => {
  const complaints = await storage(page, { budget: 0 });
  await expect(page.getByRole("main")).toContainText("No snapshot is kept, because the limit is 0.");
  await expect(page.getByRole("button", { name: "Verify all" })).toBeDisabled();
  await expect(page.getByRole("button", { name: "Clear all…" })).toBeDisabled();
  await expect(page.getByRole("slider")).toHaveAttribute("aria-valuetext", "0 GB");
  expect(complaints).toEqual([]);
});

test("a file that cannot be opened says why, and what to do", async ({ page }) => {
  await storage(page, { unusable: true });
  await expect(page.getByRole("alert")).toContainText("The file of the snapshots is damaged.");
  await expect(page.getByRole("alert")).toContainText("delete snapshots.db in the data folder");
  await expect(page.getByRole("slider")).toHaveCount(0);
  await page.getByRole("button", { name: "Show folder" }).click();
  expect((await called(page, "show_data_folder")).length).toBe(1);
});

test("the type of the KV cache, with what it saves and what it costs", async ({ page }) => {
  await storage(page);
  const main = page.getByRole("main");
  await expect(main).toContainText("34 bytes instead of 64: 47 % less memory");
  await expect(main).toContainText("those conversations are replayed once");
  await page.getByRole("radio", { name: "q8_0" }).focus();
  await page.keyboard.press("Space");
  await expect.poll(() => called(page, "save_settings")).toMatchObject([[{ kv_type: "q8_0" }]]);
});

test("what failed is told, and the list is as it was", async ({ page }) => {
  await storage(page, { snapshots: 8, failing: "pin_snapshot" });
  await rows(page).first().locator("[aria-pressed]").click();
  await expect(page.getByRole("main")).toContainText("The engine stopped (signal 9).");
  await expect(rows(page).first().locator("[aria-pressed]")).toHaveAttribute("aria-pressed", "false");
});

test("hardware: what computes, and whether states survive there", async ({ page }) => {
  const complaints = await settings(page, { hold: "testing" }, "Hardware");
  const table = page.getByRole("table");
  await expect(page.getByRole("main")).toContainText("Computes on");
  await expect(table).toContainText("Identical");
  await expect(table).toContainText("Within tolerance");
  await expect(table).toContainText("Differs, replay");
  await expect(table).toContainText("a restored state answers differently (0.312 nats away");
  // Green is what holds now, and nothing that held once.
  await expect(table.locator(".pill--proof")).toHaveCount(1);

  const again = page.getByRole("button", { name: "Run again: Llama 3.1 8B Instruct · Q4_K_M" });
  await expect(page.getByRole("button", { name: /Run again/ })).toHaveCount(1);
  await again.focus();
  await page.keyboard.press("Enter");
  const busy = page.getByRole("button", { name: "Testing: Llama 3.1 8B Instruct · Q4_K_M" });
  await expect(busy).toBeFocused();
  await expect(page.getByRole("main")).toContainText("It begins when no answer is being written.");
  await page.keyboard.press("Enter");
  await page.evaluate(() => window.__fake?.release());
  await expect(again).toBeFocused();
  expect((await called(page, "qualify")).length).toBe(1);
  expect(complaints).toEqual([]);
});

test("hardware: nothing is claimed of what was not tested", async ({ page }) => {
  await settings(page, { tested: "0" }, "Hardware");
  await expect(page.getByRole("table")).toContainText("Not tested");
  await page.getByRole("button", { name: "Test: Llama 3.1 8B Instruct · Q4_K_M" }).click();
  await expect(page.getByRole("table")).toContainText("Identical");
  await settings(page, { tested: "0", cold: true }, "Hardware");
  await expect(page.getByRole("main")).toContainText("No model was tested yet. Load one to test it.");
  await expect(page.getByRole("table")).toHaveCount(0);
});

const sizes = [
  { width: 880, height: 600 },
  { width: 1280, height: 800 },
];
const looks: { name: string; wish: Wish; at: number; says: Record<string, string> }[] = [
  {
    name: "storage",
    wish: { snapshots: 12 },
    at: 3,
    says: { en: "never evicted", "zh-CN": "消息永远不会被清除" },
  },
  { name: "storage-many", wish: { snapshots: 10_000 }, at: 3, says: { en: "10,000", "zh-CN": "10,000" } },
  {
    name: "storage-unusable",
    wish: { unusable: true },
    at: 3,
    says: { en: "There are no snapshots now", "zh-CN": "现在没有快照" },
  },
  { name: "hardware", wish: {}, at: 2, says: { en: "Differs, replay", "zh-CN": "不一致，将重放" } },
];

for (const { name, wish, at, says } of looks) {
  for (const language of ["en", "zh-CN"]) {
    test(`${name}, ${language}: in every theme and size`, async ({ page }) => {
      const complaints = await open(page, { language, ...wish });
      await page.keyboard.press("Control+,");
      await page.getByRole("navigation").getByRole("button").nth(at).click();
      await expect(page.getByRole("main")).toContainText(says[language] ?? "");
      for (const theme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme: theme });
        for (const size of sizes) {
          await page.setViewportSize(size);
          await fits(page);
          await audit(page);
          await page.screenshot({ path: `../target/e2e/ui/${name}-${language}-${theme}-${size.width}.png` });
        }
      }
      expect(complaints).toEqual([]);
    });
  }
}

for (const name of ["Storage", "Hardware"]) {
  test(`${name} at 200 % in the smallest window`, async ({ page }) => {
    await page.setViewportSize({ width: 880, height: 600 });
    const complaints = await settings(page, { scale: 200, snapshots: 60 }, name);
    await fits(page);
    await audit(page);
    const overflowing = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("main button, main input")]
        .filter((one) => one.getClientRects().length > 0 && !one.classList.contains("vh"))
        .filter((one) => one.getBoundingClientRect().right > window.innerWidth)
        .map((one) => one.outerHTML.slice(0, 100)),
    );
    expect(overflowing).toEqual([]);
    expect(complaints).toEqual([]);
  });
}

test("targets are at least 24 px", async ({ page }) => {
  await storage(page, { snapshots: 12, budget: 15_000_000_000 });
  await expect(rows(page).first()).toContainText("MB");
  const small = await page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>("button, input:not(.vh):not(.field input)")]
      .map((element) => ({ box: element.getBoundingClientRect(), html: element.outerHTML.slice(0, 100) }))
      .filter(({ box }) => box.width > 0 && (box.width < 24 || box.height < 24))
      .map(({ html, box }) => `${Math.round(box.width)}×${Math.round(box.height)} ${html}`),
  );
  expect(small).toEqual([]);
});
