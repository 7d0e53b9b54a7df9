// Which addresses may become links. Everything else stays the text that it was.

import { MAX_ADDRESS } from "./limits";

/** Characters that steer how text is laid out without being seen. */
const INVISIBLE = /[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/gu;
// Spaces and control characters let a scheme hide: browsers drop some of them before they read it.
// eslint-disable-next-line no-control-regex
const HIDING = /[\u0000-\u0020\u007f-\u00a0\u2028\u2029\\]/u;
const ALLOWED = /^(?:https?:\/\/[^/]|mailto:[^/])/i;
const DOMAIN = /(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?\.)+\p{L}{2,}/giu;

/** The address in the form in which it would be opened, or `null` where it may not be. */
export function safeAddress(raw: string): string | null {
  if (raw.length > MAX_ADDRESS || HIDING.test(raw) || raw.match(INVISIBLE) || !ALLOWED.test(raw)) return null;
  let url: URL;
  try {
    url = new URL(raw);
  } catch {
    return null;
  }
  if (url.protocol === "mailto:") {
    // Some mail programs attach a local file when the address asks for it.
    return /[?&](?:attach|attachment)=/i.test(decoded(url.search)) ? null : url.href;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  // "https://bank.example@evil.example" leads to the second.
  if (url.username !== "" || url.password !== "" || url.hostname === "") return null;
  return url.href;
}

/** The host of `address`, where `text` names another one and so would mislead; else `null`. */
export function undisclosedHost(text: string, address: string): string | null {
  const host = hostOf(address);
  const named = text.replace(INVISIBLE, "").match(DOMAIN) ?? [];
  return named.some((name) => ascii(name) !== bare(host)) ? host : null;
}

function hostOf(address: string): string {
  const url = new URL(address);
  if (url.protocol === "mailto:") return decoded(url.pathname).split("@").pop() ?? "";
  return url.hostname;
}

function ascii(name: string): string {
  try {
    return bare(new URL(`http://${name}`).hostname);
  } catch {
    return name;
  }
}

function bare(host: string): string {
  return host.toLowerCase().replace(/^www\./, "");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
