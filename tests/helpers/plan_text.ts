/** Plans as text, to compare two. */
import type { Model } from "../../src/graph/types.ts";
import type { TrainingPlan } from "../../src/plan/plan.ts";

const DERIVED = ["ct:", "float16:", "codes:", "scales:", "grad:"];

/**
 * A plan's calls, lifetimes, preprocessing and weights. Names of the model's own tensors stay, other
 * constants are told by their contents, and the rest is numbered in the order in which it comes.
 */
export function planText({ graph }: Model, plan: TrainingPlan): string[] {
  const numbers = new Map<string, string>();
  const named = (name: string): string => {
    const prefix = DERIVED.find((prefix) => name.startsWith(prefix));
    if (prefix !== undefined) return prefix + named(name.slice(prefix.length));
    if (graph.initializers.has(name) || plan.inputs.has(name)) return name;
    // Views of weights, and constants that planning has made: which of equal ones is no matter.
    const weight = plan.constants.get(name);
    if (weight !== undefined) return `${weight.dtype}[${weight.dims}] ${digest(weight.bytes)}`;
    if (!numbers.has(name)) numbers.set(name, `n${numbers.size}`);
    return numbers.get(name)!;
  };
  const names = (pairs: ReadonlyMap<string, string>) =>
    [...pairs].map(([canonical, name]) => `${canonical}=${named(name)}`);
  const calls = (listed: TrainingPlan["preprocessing"]) =>
    listed.map(({ key, feeds, fetches }) => `${key}\n${names(feeds)} -> ${names(fetches)}`);
  const schedules = [plan.training, plan.evaluation, plan.logits];
  return [
    ...calls(plan.preprocessing),
    ...schedules.flatMap((schedule) => [
      ...calls(schedule.calls),
      ...schedule.release.map((freed) => `free ${freed.map(named)}`),
    ]),
    `weights ${[...plan.constants.keys()].filter((name) => graph.initializers.has(name)).sort()}`,
    `inputs ${[...plan.inputs.keys()].sort()}`,
    `prefix ${
      plan.frozen && JSON.stringify({ ...plan.frozen, output: named(plan.frozen.output) })
    }`,
    `rows ${plan.rows}, segments ${plan.loads.length}, saved ${plan.savedBytes}`,
  ];
}

function digest(bytes: Uint8Array): number {
  return bytes.subarray(0, 4096).reduce((sum, byte) => (31 * sum + byte) | 0, bytes.length);
}
