// Every screen in every theme, language and size: it says what it should, fits, and axe finds nothing serious.

import { expect, type Page, test } from "@playwright/test";
import { audit, fits, open, type Wish } from "./page";

const sizes = [
  { width: 880, height: 600 },
  { width: 1280, height: 800 },
  { width: 2560, height: 1440 },
];

interface Screen {
  name: string;
  wish: Wish;
  /** Brings the page to what is to be looked at. */
  go?: (page: Page) => Promise<void>;
  /** Words that must be there, by language. */
  says: Record<string, string>;
}

const screens: Screen[] = [
  {
    name: "main",
    wish: {},
    says: { en: "first token 94 ms", "zh-CN": "首个词元 94 毫秒" },
    go: (page) => shown(page),
  },
  {
    name: "main-streaming",
    wish: { hold: "answering", rate: 400 },
    says: { en: "Answering", "zh-CN": "正在回答" },
    go: async (page) => {
      await ask(page);
      await expect(page.locator("article.it").last()).toContainText("hardest");
    },
  },
  {
    name: "reading",
    wish: { hold: "reading" },
    says: { en: "2,540 done · about 7 s left", "zh-CN": "已读 2,540 个 · 约剩 7 秒" },
    go: ask,
  },
  {
    name: "loading",
    wish: { hold: "loading", cold: true },
    says: { en: "63 %", "zh-CN": "63 %" },
    go: ask,
  },
  {
    name: "queued",
    wish: { hold: "queued" },
    says: { en: "Waiting for another answer to finish", "zh-CN": "正在等待另一条回答完成" },
    go: ask,
  },
  {
    name: "failed",
    wish: { fail_after: 5, rate: 400 },
    says: { en: "The answer was cut off", "zh-CN": "引擎已停止。您的上一条消息已保存。" },
    go: ask,
  },
  {
    name: "empty",
    wish: { conversations: 0, models: 0 },
    says: { en: "Pick up exactly where you left off", "zh-CN": "从上次停下的地方继续" },
  },
  {
    name: "new",
    wish: { odd: true },
    says: { en: "What would you like to talk about?", "zh-CN": "想聊些什么？" },
    go: async (page) => {
      await shown(page);
      await page.keyboard.press("Control+n");
    },
  },
  {
    name: "states",
    wish: { states: true, interrupted: 2 },
    says: { en: "Resumed 4,096 tokens in 83 ms", "zh-CN": "已恢复 4,096 个词元，用时 83 毫秒" },
    go: async (page) => {
      await shown(page);
      // As a person does, once the page is still: a view that moved by itself goes back to the newest.
      const log = page.getByRole("log");
      await log.focus();
      const top = async () => {
        await page.keyboard.press("Home");
        return log.evaluate((log) => log.scrollTop);
      };
      await expect.poll(top).toBe(0);
      await page.locator(".receipt--proof").first().click();
      await expect(page.locator(".inspector")).toBeVisible();
    },
  },
  {
    name: "banner",
    wish: { failing: "open_conversation" },
    says: {
      en: "Send the message again; if it happens again, choose a smaller context or model.",
      "zh-CN": "再发送一次；如果再次发生，请选择较小的上下文或模型。",
    },
  },
  {
    name: "trouble",
    wish: { trouble: "data_dir_busy" },
    says: { en: "Your conversations cannot be opened", "zh-CN": "无法打开您的对话" },
  },
  {
    name: "settings",
    wish: {},
    says: { en: "Instructions for new conversations", "zh-CN": "新对话的指令" },
    go: (page) => page.keyboard.press("Control+,"),
  },
  {
    name: "models",
    wish: { models: 3 },
    says: { en: "Choose a GGUF file…", "zh-CN": "选择 GGUF 文件……" },
    go: async (page) => {
      await shown(page);
      await page.locator(".composer [aria-haspopup=menu]").click();
    },
  },
  {
    name: "search",
    wish: {},
    says: { en: "messages in", "zh-CN": "条消息" },
    go: async (page) => {
      await page.keyboard.press("Control+k");
      await page.keyboard.type("octave");
      await expect(page.locator("mark").first()).toHaveText("octave");
    },
  },
];

async function shown(page: Page): Promise<void> {
  await expect(page.locator("article.it").last()).toBeVisible();
}

async function ask(page: Page): Promise<void> {
  await shown(page);
  await page.getByRole("textbox").fill("How do I test the lowest string?");
  await page.keyboard.press("Enter");
}

for (const { name, wish, go, says } of screens) {
  for (const language of ["en", "zh-CN"]) {
    test(`${name}, ${language}`, async ({ page }) => {
      await page.setViewportSize(sizes[1] as { width: number; height: number });
      const complaints = await open(page, { language, ...wish });
      await go?.(page);
      await expect(page.locator("body")).toContainText(says[language] ?? "");
      for (const theme of ["light", "dark"] as const) {
        // The theme follows the system.
        await page.emulateMedia({ colorScheme: theme });
        await expect(page.locator("html")).toHaveAttribute("data-theme", theme);
        for (const { width, height } of sizes) {
          await page.setViewportSize({ width, height });
          await fits(page);
          await page.screenshot({
            path: `../target/e2e/ui/${name}-${language}-${theme}-${width}x${height}.png`,
          });
          await audit(page);
        }
      }
      expect(complaints).toEqual([]);
    });
  }
}

for (const name of ["main", "settings", "search", "empty", "reading"]) {
  test(`${name} at 200 % in the smallest window`, async ({ page }) => {
    const screen = screens.find((one) => one.name === name);
    await page.setViewportSize(sizes[0] as { width: number; height: number });
    const complaints = await open(page, { language: "en", theme: "light", ...screen?.wish, scale: 200 });
    await screen?.go?.(page);
    await fits(page);
    await audit(page);
    await page.screenshot({ path: `../target/e2e/ui/${name}-200-percent.png` });
    expect(complaints).toEqual([]);
  });
}

test("forced colours keep what is chosen visible", async ({ page }) => {
  await page.emulateMedia({ forcedColors: "active" });
  await open(page, { language: "en" });
  await shown(page);
  await page.screenshot({ path: "../target/e2e/ui/main-forced-colours.png" });
  const chosen = page.locator(".conv.is-on");
  expect(await chosen.evaluate((row) => getComputedStyle(row).outlineStyle)).toBe("solid");
});
