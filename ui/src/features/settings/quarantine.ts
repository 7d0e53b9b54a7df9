import { explainReason } from "../../shared/i18n/explain";

/** Why a snapshot is not used any more. The app says it as a code and an English sentence: `challenge: it …`. */
export function quarantineWords(why: string): string {
  const [, code, message] = /^([a-z_]+): (.+)$/su.exec(why) ?? [];
  if (code === undefined || message === undefined) return why;
  return explainReason({ code, message, field: null });
}
