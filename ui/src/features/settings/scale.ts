// The scale on which the limit of the snapshots is chosen, in bytes.

const steps = [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10];

/** The end of a scale that holds all of these: a number whose quarters people can read. */
export function ceiling(...held: number[]): number {
  const most = Math.max(1e8, ...held);
  const power = 10 ** Math.floor(Math.log10(most));
  return (steps.find((step) => step * power >= most) ?? 10) * power;
}

/** Marks at the quarters, without those that the label at `here` would cover. */
export function ticks(end: number, here: number): number[] {
  return [0, 1, 2, 3, 4].map((at) => (end / 4) * at).filter((at) => Math.abs(at - here) > end * 0.1);
}
