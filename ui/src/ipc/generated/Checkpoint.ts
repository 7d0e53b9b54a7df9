// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * A message that the person gave a name, to come back to.
 */
export type Checkpoint = {
/**
 * The message.
 */
message: string,
/**
 * Its name.
 */
name: string,
/**
 * When it was named, in milliseconds since 1970.
 */
created: number,
/**
 * Whether a snapshot that reaches it is kept and pinned.
 */
pinned: boolean, };
