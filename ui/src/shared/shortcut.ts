// Shortcuts as they are written on the keys of this machine.

// Deprecated, and the only thing that WebKit, WebView2 and Chromium all tell.
const mac = /^Mac/u.test(navigator.platform);

/** A key pressed together with the one for shortcuts: `Ctrl K`, `⌘ K` on a Mac. */
export function shortcut(key: string): string {
  return `${mac ? "⌘" : "Ctrl"} ${key}`;
}
