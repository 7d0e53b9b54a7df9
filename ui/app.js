// The first window: follows the system's theme and shows the version.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const applyTheme = () => {
  document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
};
applyTheme();
dark.addEventListener("change", applyTheme);

addEventListener("DOMContentLoaded", async () => {
  const place = document.getElementById("version");
  try {
    const info = await window.__TAURI_INTERNALS__.invoke("app_info");
    place.textContent = `${info.name} ${info.version}`;
  } catch (error) {
    place.className = "failed";
    place.textContent = `The version is not known: the app did not answer (${error?.message ?? error}).`;
  }
});
