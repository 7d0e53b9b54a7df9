import type { Catalogue } from "./keys";

export const zhCN: Catalogue = {
  app_name: "Reprise",
};
