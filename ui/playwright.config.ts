import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "e2e",
  outputDir: "../target/e2e/ui-results",
  fullyParallel: true,
  workers: 2,
  retries: 0,
  reporter: [["list"]],
  timeout: 60_000,
  use: {
    baseURL: "http://localhost:4173",
    launchOptions: { executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: ["--no-sandbox"] },
    reducedMotion: "reduce",
  },
  webServer: {
    command: "vite preview --mode fake --outDir dist-fake",
    url: "http://localhost:4173",
    reuseExistingServer: false,
  },
});
