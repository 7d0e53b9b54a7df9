// Every word that the window says, in English. `zh-CN.ts` has the same keys with the same arguments.
export const en = {
  app_name: "Reprise",
} as const;
