import type { SendKey } from "../../ipc/generated/SendKey";

/**
 * Whether a key press sends. Never while an input method is composing: there Enter takes a candidate, and
 * WebKit reports the press that ends it with key code 229 and `isComposing` already false.
 */
export function sends(event: KeyboardEvent, key: SendKey): boolean {
  if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return false;
  if (event.shiftKey || event.altKey) return false;
  const control = event.ctrlKey || event.metaKey;
  return key === "ctrl_enter" ? control : true;
}
