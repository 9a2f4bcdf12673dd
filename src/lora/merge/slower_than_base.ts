/** Explains why a merged model runs slower than its base. */
import { type Method, METHOD_NAMES } from "../peft_type.ts";
import type { Candidate, Latency } from "./certificate.ts";

/** Latency relative to the base's above which a reason is given. */
const MOST = 1.01;

/**
 * @param addsHead whether the adapter adds a classification head that the base lacks
 * @param beside methods whose modules are beside the weights
 * @returns `undefined` if it is not slower, or was not timed
 */
export function slowerThanBase(
  { latency, method, matrices }: Candidate,
  addsHead: boolean,
  beside: readonly Method[] = [],
): string | undefined {
  if (latency === undefined || !(latency.ratio > MOST)) return undefined;
  const reasons = [
    ...method === "float" ? ["its weights are floats, which are more to read"] : [],
    ...method === "8bit"
      ? [
        `${
          matrices.filter(({ bits }) => bits === 8).length
        } matrices have 8 bits, which are more to read`,
      ]
      : [],
    ...addsHead ? ["it has the adapter's new head"] : [],
    ...beside.map((method) => `it computes the ${METHOD_NAMES[method]}`),
  ];
  return reasons.length > 0 ? reasons.join(", and ") : sameWork(latency);
}

/** The reason for a model with the base's operators, sizes and types. */
function sameWork({ ratio, controlRatio }: Latency): string {
  const work = "it computes the same products on weights of the same types";
  const noise = Math.abs(controlRatio - 1);
  return noise >= ratio - 1
    ? `the base differs as much from itself, and ${work}`
    : `${work}, so that the machine was busy: time it again`;
}
