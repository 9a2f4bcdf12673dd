/** Rows of a data set dealt to boxes that each see other classes. */
import { randomFor, type RandomSource } from "../../../src/data/random.ts";
import { gaussian } from "../../../src/lora/init.ts";

/** Fewest rows of a box. */
const LEAST = 4;

/**
 * Deals the rows of each class to boxes in shares drawn from a Dirichlet distribution, as Li et al. do
 * (2022, arXiv:2102.02079): the smaller its parameter, the fewer boxes share a class. A box with too few rows
 * gets some of the box that has the most.
 *
 * @param classes class of each row
 * @param concentration the distribution's parameter, alike for all boxes
 */
export function dirichletShares(
  classes: Int32Array,
  boxes: number,
  concentration: number,
  seed: number,
): Uint32Array[] {
  const random = randomFor(seed, "shares");
  const dealt: number[][] = Array.from({ length: boxes }, () => []);
  const rows = Map.groupBy(classes.keys(), (row) => classes[row]);
  for (const id of [...rows.keys()].sort((a, b) => a - b)) {
    const weights = dealt.map(() => gamma(concentration, random));
    for (const row of rows.get(id)!) dealt[draw(weights, random)].push(row);
  }
  for (const box of dealt) {
    while (box.length < LEAST) {
      const most = dealt.reduce((a, b) => b.length > a.length ? b : a);
      box.push(most.splice(below(most.length, random), 1)[0]);
    }
  }
  return dealt.map((box) => Uint32Array.from(box));
}

/** Uniform in (0, 1). */
export const uniform = (random: RandomSource) => (random.next() + 0.5) / 2 ** 32;

/** A whole number in [0, bound). */
const below = (bound: number, random: RandomSource) => Math.floor(uniform(random) * bound);

/** An index, with probabilities in proportion to weights. */
function draw(weights: readonly number[], random: RandomSource): number {
  let left = uniform(random) * weights.reduce((sum, weight) => sum + weight, 0);
  const found = weights.findIndex((weight) => (left -= weight) < 0);
  return found < 0 ? weights.length - 1 : found;
}

/** A draw from the gamma distribution of this shape and scale 1 (Marsaglia and Tsang, 2000). */
function gamma(shape: number, random: RandomSource): number {
  if (shape < 1) return gamma(shape + 1, random) * uniform(random) ** (1 / shape);
  const d = shape - 1 / 3;
  while (true) {
    const x = gaussian(random);
    const v = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && Math.log(uniform(random)) < x * x / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** So many different ones of the numbers below a bound. */
export function sample(bound: number, count: number, random: RandomSource): number[] {
  const all = Array.from({ length: bound }, (_, i) => i);
  return Array.from({ length: count }, () => all.splice(below(all.length, random), 1)[0]);
}
