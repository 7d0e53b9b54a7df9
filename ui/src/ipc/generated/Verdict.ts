// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * Whether states survive being saved and restored, as it was found out on this machine.
 */
export type Verdict = "identical" | "within_tolerance" | "failed";
