import type { MarkdownLabels } from "../../markdown/labels";
import { t } from "../../shared/i18n/translate.svelte";

/** The words of an answer, in the window's language. */
export function markdownLabels(): MarkdownLabels {
  return {
    copy: t("copy"),
    copied: t("toast_copied"),
    thought: t("thought"),
    thinking: t("thinking"),
    imageNotLoaded: t("image_not_loaded"),
    code: t("code"),
    formula: t("formula"),
    table: t("table"),
    note: (mark) => t("footnote", { mark }),
    noteBack: (mark) => t("footnote_back", { mark }),
  };
}
