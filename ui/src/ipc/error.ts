import type { AppError as Crossed } from "./generated/AppError";

/** Why something asked for did not happen. The only error that the UI handles. */
export class AppError extends Error implements Crossed {
  readonly code: string;
  readonly remedy: string;

  constructor({ code, message, remedy }: Crossed) {
    super(message);
    this.name = "AppError";
    this.code = code;
    this.remedy = remedy;
  }
}

function isCrossed(reason: unknown): reason is Crossed {
  if (typeof reason !== "object" || reason === null) return false;
  const { code, message, remedy } = reason as Record<string, unknown>;
  return typeof code === "string" && typeof message === "string" && typeof remedy === "string";
}

/**
 * What a promise was rejected with, as an `AppError`. Whatever is none, such as a command that the window may
 * not call, is a fault of the program and gets the code `internal`.
 */
export function asAppError(reason: unknown): AppError {
  if (reason instanceof AppError) return reason;
  if (isCrossed(reason)) return new AppError(reason);
  const detail = reason instanceof Error ? reason.message : String(reason);
  return new AppError({
    code: "internal",
    message: `Something in Reprise itself failed (${detail}). Everything saved before is safe.`,
    remedy: "Try again; if it happens again, start Reprise again.",
  });
}
