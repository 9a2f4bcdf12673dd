/** Merges adapters into a base model. */
import { withTensors } from "../../graph/pending.ts";
import { byteLength } from "../../graph/dtype.ts";
import { elementCount, type Tensor } from "../../graph/tensor.ts";
import type { Model } from "../../graph/types.ts";
import { RefusedError } from "../../errors.ts";
import { type Gram, hessianOf } from "../../quant/hessian.ts";
import type { MatrixProduct } from "../../quant/product.ts";
import { Scratch } from "../../quant/scratch.ts";
import { Weigher } from "../../quant/weigher.ts";
import type { ModuleChange } from "./delta.ts";
import type { MatrixReport } from "./matrix.ts";
import {
  type MatrixTask,
  type MergeMethod,
  type MergePlan,
  planMerge,
  type PlanOptions,
  type WriteBytes,
} from "./plan.ts";

/** A value whose Gram matrix is wanted, and how many features it has. */
export interface GramRequest {
  /** Name of the value in the base's graph. */
  readonly value: string;
  readonly cols: number;
}

/**
 * Gives the Gram matrices of values over the training data, by value name. They are worked on in
 * their place; those of a request are done with at the next, which may use their memory.
 */
export type GramSource = (
  requests: readonly GramRequest[],
) => Promise<ReadonlyMap<string, Gram>>;

export interface ComputeOptions {
  /**
   * Needed by `compensated`, used by `8bit` where given; for the other methods it adds output errors
   * to the report.
   */
  readonly grams?: GramSource;
  /** Most bytes of Gram matrices held at a time; default 64 MiB. More means fewer passes over the data. */
  readonly gramBytes?: number;
  /** Computes products of matrices, most of the work where there are `grams`; default: in loops. */
  readonly multiply?: MatrixProduct;
  /** Told of each matrix when it is done; the next one waits for it. */
  readonly onMatrix?: (report: MatrixReport, done: number, total: number) => void | Promise<void>;
}

/**
 * Computes the matrices of a plan one at a time.
 *
 * @param write receives the contents of each pending initializer, whole or in stretches
 * @returns what was done to each matrix
 * @throws {RefusedError} where nothing in the model would change
 */
export async function computeMerge(
  plan: MergePlan,
  write: WriteBytes,
  options: ComputeOptions = {},
): Promise<readonly MatrixReport[]> {
  const reports: MatrixReport[] = [];
  const scratch = new Scratch();
  for (const tasks of gramBatches(plan.tasks, options)) {
    const grams = await options.grams?.(requestsOf(tasks));
    const weighers = new Map<string, Weigher>();
    for (const [input, gram] of grams ?? []) {
      const hessian = await hessianOf(gram, { multiply: options.multiply, scratch });
      weighers.set(input, new Weigher(hessian, options.multiply, scratch));
    }
    for (const task of tasks) {
      const inputs = weighers.get(task.input);
      if (plan.method === "compensated" && inputs === undefined) {
        throw new RangeError(`No activations were given for "${task.input}"`);
      }
      const report = await task.compute(write, inputs, scratch);
      if (report.paths.length === 0) continue;
      reports.push(report);
      await options.onMatrix?.(report, reports.length, plan.tasks.length);
    }
  }
  refuseNothing(plan, reports);
  return reports;
}

/** Runs of tasks whose Gram matrices fit into memory together. */
function* gramBatches(
  tasks: readonly MatrixTask[],
  { grams, gramBytes = 64 << 20 }: ComputeOptions,
): Generator<readonly MatrixTask[]> {
  if (grams === undefined) return yield tasks;
  let batch: MatrixTask[] = [];
  let bytes = 0;
  let inputs = new Set<string>();
  // Layers that share an input (q, k and v; gate and up) share its Gram matrix.
  for (const task of tasks) {
    const more = inputs.has(task.input) ? 0 : 4 * task.cols * task.cols;
    if (batch.length > 0 && bytes + more > gramBytes) {
      yield batch;
      [batch, bytes, inputs] = [[], 0, new Set()];
    }
    batch.push(task);
    bytes += inputs.has(task.input) ? 0 : 4 * task.cols * task.cols;
    inputs.add(task.input);
  }
  yield batch;
}

function requestsOf(tasks: readonly MatrixTask[]): readonly GramRequest[] {
  return [...new Map(tasks.map(({ input, cols }) => [input, { value: input, cols }])).values()];
}

/** What to try where rounding loses everything. */
const MORE_EXACT: Readonly<Record<MergeMethod, string>> = {
  nearest: "use error-compensated rounding or 8 bits",
  compensated: "use 8 bits or store floats",
  "8bit": "store floats",
  float: "its updates are too small even for floats",
};

function refuseNothing(
  { method, otherChanges }: MergePlan,
  reports: readonly MatrixReport[],
): void {
  if (otherChanges.length > 0 || reports.some((report) => report.changed)) return;
  const moved = reports.some((report) => report.deltaNorm > 0);
  throw new RefusedError(
    moved
      ? `The merge changes nothing: rounding ("${method}") loses the whole adapter; ${
        MORE_EXACT[method]
      }`
      : "The merge changes nothing: the adapter's updates are all zero (was it trained?)",
  );
}

/** A merged model in memory. */
export interface Merged {
  readonly model: Model;
  readonly matrices: readonly MatrixReport[];
}

/**
 * Merges adapters into a base model, W' = W + Σ weightᵢ·scaleᵢ·Bᵢ·Aᵢ, stored as `method` says. Always
 * start from the pristine base: rounding twice loses twice.
 *
 * The new weights are all held in memory; to write them as they are computed, use
 * {@linkcode planMerge} and {@linkcode computeMerge}.
 *
 * @throws {BadInputError} for changes that do not fit the base
 * @throws {RefusedError} where nothing would change
 */
export async function mergeModel(
  base: Model,
  changes: readonly ModuleChange[],
  method: MergeMethod,
  options: PlanOptions & ComputeOptions = {},
): Promise<Merged> {
  const plan = planMerge(base, changes, method, options);
  const computed = new Map<string, Tensor>();
  for (const name of plan.tasks.flatMap(({ names }) => names)) {
    const { dtype, dims } = plan.model.graph.initializers.get(name)!;
    const bytes = new Uint8Array(byteLength(dtype, elementCount(dims)));
    computed.set(name, { dtype, dims, bytes });
  }
  const matrices = await computeMerge(
    plan,
    (name, bytes, offset = 0) => computed.get(name)!.bytes.set(bytes, offset),
    options,
  );
  return { model: withTensors(plan.model, computed), matrices };
}
