// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * A piece of a snippet.
 */
export type SnippetPart = {
/**
 * Plain text.
 */
text: string,
/**
 * Whether it is what was searched for.
 */
hit: boolean, };
