/** Combines tensors of one shape, element by element. */
import type { RandomSource } from "../init.ts";
import type { MajoritySignMethod, Rule } from "./combination.ts";
import { prunedAtRandom, prunedByMagnitude } from "./prune.ts";

/** What the rules need besides tensors and weights. */
export interface RuleOptions {
  readonly density?: number;
  readonly majoritySignMethod: MajoritySignMethod;
  /** Of what `dare` drops. */
  readonly random: RandomSource;
}

/**
 * One tensor from several of the same shape, as PEFT's `utils/merge_utils.py` computes it: pruned by the
 * rule, then summed with the weights; `ties` rules average the values whose sign is the majority's.
 */
export function combineTensors(
  rule: Rule,
  tensors: readonly Float64Array[],
  weights: readonly number[],
  { density = 1, majoritySignMethod, random }: RuleOptions,
): Float64Array {
  const pruned = tensors.map((tensor) => {
    if (rule === "sum") return tensor;
    return rule.startsWith("dare")
      ? prunedAtRandom(tensor, density, random)
      : prunedByMagnitude(tensor, density);
  });
  return rule.endsWith("ties")
    ? averageOfMajority(pruned, weights, majoritySignMethod)
    : weightedSum(pruned, weights);
}

function weightedSum(tensors: readonly Float64Array[], weights: readonly number[]): Float64Array {
  const out = new Float64Array(tensors[0].length);
  tensors.forEach((tensor, t) => {
    for (let i = 0; i < out.length; i++) out[i] += weights[t] * tensor[i];
  });
  return out;
}

/** The sign is elected before the weights are applied; a sum of zero elects plus. */
function averageOfMajority(
  tensors: readonly Float64Array[],
  weights: readonly number[],
  method: MajoritySignMethod,
): Float64Array {
  const out = new Float64Array(tensors[0].length);
  for (let i = 0; i < out.length; i++) {
    let votes = 0;
    for (const tensor of tensors) votes += method === "total" ? tensor[i] : Math.sign(tensor[i]);
    const sign = votes >= 0 ? 1 : -1;
    let [sum, count] = [0, 0];
    tensors.forEach((tensor, t) => {
      if (Math.sign(tensor[i]) !== sign) return;
      sum += weights[t] * tensor[i];
      count++;
    });
    out[i] = sum / Math.max(1, count);
  }
  return out;
}
