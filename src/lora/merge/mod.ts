/** Merging adapters into a model's own weights. */
export {
  type AdapterChanges,
  adapterChanges,
  additionOf,
  type WeightedAdapter,
  withAdapters,
} from "./adapters.ts";
export {
  bestCandidate,
  type Candidate,
  chooseCandidate,
  type Evaluated,
  gainKept,
  gainKeptInterval,
  isKept,
  largestDifference,
  type Latency,
  LEAST_GAIN_KEPT,
  type Measurements,
  MIN_GAIN_KEPT,
  sameBest,
} from "./certificate.ts";
export { compareMerged } from "./compare_merged.ts";
export type { LowRankUpdate, ModuleChange } from "./delta.ts";
export type { MatrixReport } from "./matrix.ts";
export { nearestLoss } from "./nearest_loss.ts";
export {
  computeMatrices,
  computeMerge,
  type ComputeOptions,
  type GramRequest,
  type GramSource,
  type Merged,
  mergeModel,
  refusalOf,
} from "./merge.ts";
export {
  isSteered,
  type MatrixTask,
  type MergeMethod,
  type MergePlan,
  planMerge,
  type PlanOptions,
} from "./plan.ts";
export { withGramOutputs } from "./gram_graph.ts";
export { isWithinReach, type TuningStart } from "./within_reach.ts";
