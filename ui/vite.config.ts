import { svelte } from "@sveltejs/vite-plugin-svelte";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { policy } from "./policy.ts";

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// `--mode fake` plays the app inside the page: for work in a browser and for the tests that drive one.
export default defineConfig(({ mode }) => {
  const fake = mode === "fake" || mode === "test";
  return {
    plugins: [svelte()],
    resolve: {
      alias: {
        "#backend": source(fake ? "src/ipc/fake/connect.ts" : "src/ipc/tauri.ts"),
      },
      // Components under test run in jsdom, so they need Svelte's browser build.
      ...(mode === "test" ? { conditions: ["browser"] } : {}),
    },
    build: {
      target: "safari16.4",
      outDir: fake ? "dist-fake" : "dist",
      // The content policy allows no data: addresses.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 700,
      manifest: "manifest.json",
    },
    server: { port: 5173, strictPort: true },
    preview: { port: 4173, strictPort: true, headers: { "Content-Security-Policy": policy } },
    test: {
      environment: "jsdom",
      include: ["src/**/*.test.ts"],
      setupFiles: ["src/setup.test-env.ts"],
    },
  };
});
