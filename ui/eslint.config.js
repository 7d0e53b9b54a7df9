import js from "@eslint/js";
import { createTypeScriptImportResolver } from "eslint-import-resolver-typescript";
import { importX } from "eslint-plugin-import-x";
import svelte from "eslint-plugin-svelte";
import globals from "globals";
import ts from "typescript-eslint";
import svelteConfig from "./svelte.config.js";

/** What stands in one folder may not reach into these. The direction is views → features → shared. */
const zones = [
  {
    target: "./src/shared",
    from: ["./src/views", "./src/features", "./src/app", "./src/state", "./src/ipc", "./src/markdown"],
  },
  {
    target: "./src/markdown",
    from: ["./src/views", "./src/features", "./src/app", "./src/state", "./src/ipc"],
  },
  {
    target: "./src/ipc",
    from: ["./src/views", "./src/features", "./src/app", "./src/state", "./src/markdown"],
  },
  { target: "./src/state", from: ["./src/views", "./src/features", "./src/app", "./src/markdown"] },
  { target: "./src/app", from: ["./src/views", "./src/features", "./src/markdown"] },
  { target: "./src/features", from: ["./src/views"] },
].flatMap(({ target, from }) => from.map((one) => ({ target, from: one })));

export default ts.config(
  { ignores: ["dist", "dist-fake", "src/ipc/generated", "test-results"] },
  js.configs.recommended,
  ...ts.configs.strict,
  ...svelte.configs.recommended,
  importX.flatConfigs.typescript,
  {
    languageOptions: {
      globals: { ...globals.browser },
      // For the components that a file imports: the search for cycles reads them too.
      parserOptions: { parser: ts.parser, extraFileExtensions: [".svelte"] },
    },
    plugins: { "import-x": importX },
    settings: {
      "import-x/resolver-next": [createTypeScriptImportResolver({ project: "./tsconfig.json" })],
      "import-x/extensions": [".ts", ".js", ".svelte"],
      "import-x/parsers": { "@typescript-eslint/parser": [".ts"], "svelte-eslint-parser": [".svelte"] },
    },
    rules: {
      "import-x/no-cycle": ["error", { ignoreExternal: true }],
      "import-x/no-unresolved": "off",
      "import-x/no-restricted-paths": ["error", { zones }],
      "no-restricted-imports": [
        "error",
        { patterns: [{ group: ["@tauri-apps/*"], message: "Only ipc/tauri.ts speaks to Tauri." }] },
      ],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // A store is reactive where it says so; plain maps are used for what no screen shows.
      "svelte/prefer-svelte-reactivity": "off",
      "svelte/no-at-html-tags": "error",
      // A space at the edge of an element is lost unless it is written as a literal.
      "svelte/no-useless-mustaches": "off",
      "no-console": "error",
    },
  },
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: {
      parserOptions: { parser: ts.parser, extraFileExtensions: [".svelte"], svelteConfig },
    },
  },
  { files: ["src/ipc/tauri.ts"], rules: { "no-restricted-imports": "off" } },
  {
    // No store imports another; what they have to do with each other is in src/app.
    files: ["src/state/**/*.ts"],
    ignores: ["src/state/**/*.test.ts"],
    rules: {
      "@typescript-eslint/no-restricted-imports": [
        "error",
        {
          patterns: [{ group: ["./*.svelte"], message: "No store imports another.", allowTypeImports: true }],
        },
      ],
    },
  },
  {
    files: ["e2e/**", "bench/**", "measure/**", "*.ts", "*.js"],
    languageOptions: { globals: { ...globals.node, ...globals.browser } },
    rules: { "no-console": "off" },
  },
);
