// What the page loads before anything is done: the entry of the build, what it imports, and its styles.
// Fails over the bound. Highlighting is a chunk of its own and not among them.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const bound = 200_000;
const dist = join(dirname(fileURLToPath(import.meta.url)), "../dist");

/** @type {Record<string, { file: string, isEntry?: boolean, imports?: string[], css?: string[] }>} */
const chunks = JSON.parse(readFileSync(join(dist, "manifest.json"), "utf8"));

/** @type {Set<string>} */
const files = new Set(["index.html"]);
/** @param {string} name */
function take(name) {
  const chunk = chunks[name];
  if (chunk === undefined || files.has(chunk.file)) return;
  files.add(chunk.file);
  for (const style of chunk.css ?? []) files.add(style);
  for (const imported of chunk.imports ?? []) take(imported);
}
for (const [name, chunk] of Object.entries(chunks)) if (chunk.isEntry) take(name);

let total = 0;
for (const file of files) {
  const size = gzipSync(readFileSync(join(dist, file)), { level: 9 }).length;
  total += size;
  console.log(`${String(size).padStart(8)} B  ${file}`);
}
console.log(`${String(total).padStart(8)} B  first load, compressed; the bound is ${bound} B`);
if (files.size < 3) {
  console.error("The build has no entry with styles: what was measured is not the page.");
  process.exit(1);
}
const lazy = Object.values(chunks).filter((chunk) => !files.has(chunk.file));
if (!lazy.some((chunk) => chunk.file.includes("highlight"))) {
  console.error("Highlighting is not a chunk of its own any more.");
  process.exit(1);
}
if (total > bound) {
  console.error(`The first load is ${total - bound} B over its bound.`);
  process.exit(1);
}
