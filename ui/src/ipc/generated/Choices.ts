// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.

/**
 * What the person chose for one conversation.
 */
export type Choices = {
/**
 * Its text is read each time: no state is restored or kept.
 */
always_replay: boolean,
/**
 * It is computed on the processor, whatever else there is.
 */
always_cpu: boolean, };
