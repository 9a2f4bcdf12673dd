/** How adapters are combined, in PEFT's words (`LoraModel.add_weighted_adapter`). */
import { ParameterError } from "../../errors.ts";

/** PEFT's names of the combinations. */
export const COMBINATION_TYPES = [
  "svd",
  "linear",
  "cat",
  "ties",
  "ties_svd",
  "dare_ties",
  "dare_linear",
  "dare_ties_svd",
  "dare_linear_svd",
  "magnitude_prune",
  "magnitude_prune_svd",
] as const;

/** One of {@linkcode COMBINATION_TYPES}. */
export type CombinationType = (typeof COMBINATION_TYPES)[number];

/** How `ties` elects the sign of an element: by the sum of the values, or by counting signs. */
export type MajoritySignMethod = "total" | "frequency";

/** A combination with its settings. */
export interface Combination {
  /** What is computed of the matrices. */
  readonly type: CombinationType;
  /** Rank of the result, for the types that end in `svd`; default the largest of the adapters. */
  readonly rank?: number;
  /** Share of the elements that pruning keeps, in (0, 1], for `ties`, `dare` and `magnitude_prune`. */
  readonly density?: number;
  /** For `ties`. */
  readonly majoritySignMethod: MajoritySignMethod;
  /** Of the elements that `dare` drops. */
  readonly seed: number;
}

/** How tensors of several adapters become one. */
export type Rule = "sum" | "ties" | "dare_ties" | "dare_linear" | "magnitude_prune";

/** The rule of a type; `cat` and `svd` sum whole updates. */
export function ruleOf(type: CombinationType): Rule {
  if (type === "cat" || type === "linear" || type === "svd") return "sum";
  return type.replace(/_svd$/, "") as Rule;
}

/** Whether a type decomposes the combined update and keeps the largest singular values. */
export const isSvd = (type: CombinationType): boolean => type.endsWith("svd");

/**
 * Checks that a combination has what its type needs, and nothing that the type does not use.
 *
 * @throws {ParameterError} naming the setting
 */
export function checkCombination({ type, rank, density }: Combination): void {
  const fail = (parameter: string, says: string): never => {
    throw new ParameterError(
      parameter,
      (name) => `${name(parameter)} ${says}: current combination is ${type}`,
    );
  };
  if (rank !== undefined && !isSvd(type)) {
    fail("rank", "is for the combinations that end in svd; the others determine the rank");
  }
  const prunes = ruleOf(type) !== "sum";
  if (prunes && density === undefined) {
    fail("density", "is missing: give the share of the elements to keep, such as 0.5");
  }
  if (!prunes && density !== undefined) fail("density", "is for ties, dare and magnitude_prune");
  if (density !== undefined && !(density > 0 && density <= 1)) {
    fail("density", `must be in (0, 1]: current value is ${density}`);
  }
}
