/** Held-out losses of canned boxes by the name of a release. */
export const LOSSES: Readonly<Record<string, number>> = {
  base: 1,
  first: 0.6,
  worse: 2,
  second: 0.5,
};
