/** Merges adapters into a base model. */
import { withTensors } from "../../graph/pending.ts";
import { byteLength } from "../../graph/dtype.ts";
import { elementCount, type Tensor } from "../../graph/tensor.ts";
import type { Model } from "../../graph/types.ts";
import { RefusedError } from "../../errors.ts";
import { type Gram, hessianOf, traceOf } from "../../quant/hessian.ts";
import type { MatrixProduct } from "../../quant/product.ts";
import { ScaleFitter } from "../../quant/scale_fitter.ts";
import type { ScaleProducts } from "../../quant/scale_products.ts";
import { Scratch } from "../../quant/scratch.ts";
import { Weigher } from "../../quant/weigher.ts";
import type { ModuleChange } from "./delta.ts";
import type { LayerInputs, MatrixReport } from "./matrix.ts";
import {
  type MatrixTask,
  type MergeMethod,
  type MergePlan,
  planMerge,
  type PlanOptions,
  type WriteBytes,
} from "./plan.ts";

/** A value whose Gram matrix is needed, and its number of features. */
export interface GramRequest {
  /** Name of the value in the base's graph. */
  readonly value: string;
  readonly cols: number;
}

/**
 * Computes the Gram matrices of values over the training data, by value name. The caller may overwrite
 * them; they are valid until the next request, which may reuse their memory.
 *
 * @param following the next request; empty for the last one
 */
export type GramSource = (
  requests: readonly GramRequest[],
  following?: readonly GramRequest[],
) => Promise<ReadonlyMap<string, Gram>>;

export interface ComputeOptions {
  /**
   * Needed by `compensated` and `fitted`, used by `8bit` if given; for the other methods it adds output
   * errors to the report.
   */
  readonly grams?: GramSource;
  /** Most bytes of Gram matrices held at a time; default 64 MiB. More means fewer passes over the data. */
  readonly gramBytes?: number;
  /** Bytes of float32 of a matrix that are processed at once; default 1 MiB. More is faster. */
  readonly slabBytes?: number;
  /** Computes matrix products, most of the work if there are `grams`; default: in loops. */
  readonly multiply?: MatrixProduct;
  /** Computes the products for fitting scales; default: in loops. */
  readonly scaleProducts?: ScaleProducts;
  /** Called for each finished matrix; the next one waits for it. */
  readonly onMatrix?: (
    report: MatrixReport,
    done: number,
    total: number,
  ) => void | Promise<void>;
}

/**
 * Computes the matrices of a plan one at a time.
 *
 * @param write receives the contents of each pending initializer, whole or in ranges
 * @returns a report for each matrix
 * @throws {RefusedError} if nothing in the model would change
 */
export async function computeMerge(
  plan: MergePlan,
  write: WriteBytes,
  options: ComputeOptions = {},
): Promise<readonly MatrixReport[]> {
  const reports = await computeMatrices(plan, write, options);
  const refused = refusalOf(plan, reports);
  if (refused !== undefined) throw refused;
  return reports;
}

/**
 * Like {@linkcode computeMerge}, also if nothing changes, which {@linkcode refusalOf} reports.
 *
 * @throws {RefusedError} if activations are not finite
 */
export async function computeMatrices(
  { method, tasks }: MergePlan,
  write: WriteBytes,
  options: ComputeOptions = {},
): Promise<readonly MatrixReport[]> {
  const reports: MatrixReport[] = [];
  const scratch = new Scratch(options.slabBytes);
  const batches = [...gramBatches(tasks, options)];
  for (const [i, batch] of batches.entries()) {
    const grams = await options.grams?.(requestsOf(batch), requestsOf(batches[i + 1] ?? []));
    const layers = new Map<string, LayerInputs>();
    for (const [input, gram] of grams ?? []) {
      if (!Number.isFinite(traceOf(gram))) throw overflowed(input);
      layers.set(input, await prepared(gram, method, options, scratch));
    }
    for (const task of batch) {
      const inputs = layers.get(task.input);
      if (inputs === undefined && (method === "compensated" || method === "fitted")) {
        throw new RangeError(`No activations were given for "${task.input}"`);
      }
      const report = await task.compute(write, inputs, scratch);
      if (report.paths.length === 0) continue;
      reports.push(report);
      await options.onMatrix?.(report, reports.length, tasks.length);
    }
  }
  return reports;
}

/** Prepares inputs for a method, in the memory of their sums. */
async function prepared(
  gram: Gram,
  method: MergeMethod,
  { multiply, scaleProducts }: ComputeOptions,
  scratch: Scratch,
): Promise<LayerInputs> {
  return method === "fitted"
    ? new ScaleFitter(gram, scaleProducts, scratch)
    : new Weigher(await hessianOf(gram, { multiply, scratch }), multiply, scratch);
}

const overflowed = (input: string) =>
  new RefusedError((name) =>
    `Refused the merge: on the training data "${input}" holds numbers that are not finite, ` +
    `or whose squares are not: ${name("method", "nearest")} looks at no data`
  );

/** Groups of consecutive matrices whose Gram matrices fit into memory together. */
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
    const { input, cols } = task;
    const sizeBytes = 4 * cols * cols;
    if (batch.length > 0 && !inputs.has(input) && bytes + sizeBytes > gramBytes) {
      yield batch;
      [batch, bytes, inputs] = [[], 0, new Set()];
    }
    batch.push(task);
    if (!inputs.has(input)) bytes += sizeBytes;
    inputs.add(input);
  }
  yield batch;
}

function requestsOf(batch: readonly MatrixTask[]): readonly GramRequest[] {
  return [...new Map(batch.map(({ input, cols }) => [input, { value: input, cols }])).values()];
}

/** Advice for each method if rounding loses everything. */
const MORE_EXACT: Readonly<Record<MergeMethod, string>> = {
  nearest: "use error-compensated rounding or 8 bits",
  fitted: "use error-compensated rounding or 8 bits",
  compensated: "use 8 bits or store floats",
  tuned: "use 8 bits or store floats",
  scales: "its changes are too small for the type of the scales",
  "8bit": "store floats",
  float: "its updates are too small even for floats",
};

/** The reason for refusing a merge that changed nothing; `undefined` for others. */
export function refusalOf(
  { method, otherChanges }: MergePlan,
  reports: readonly MatrixReport[],
): RefusedError | undefined {
  if (otherChanges.length > 0 || reports.some((report) => report.changed)) return undefined;
  const moved = reports.some((report) => report.deltaNorm > 0);
  return new RefusedError(
    moved
      ? `The merge changes nothing: rounding ("${method}") loses the whole adapter; ${
        MORE_EXACT[method]
      }`
      : "The merge changes nothing: the adapter's updates are all zero or cancel out (was it trained?)",
  );
}

/** A merged model in memory. */
export interface Merged {
  readonly model: Model;
  readonly matrices: readonly MatrixReport[];
}

/**
 * Merges adapters into a base model, W' = W + Σ weightᵢ·scaleᵢ·Bᵢ·Aᵢ, stored by `method`. Always start
 * from the pristine base, because rounding twice adds both errors.
 *
 * All new weights are held in memory; to write them as they are computed, use {@linkcode planMerge} and
 * {@linkcode computeMerge}.
 *
 * @throws {BadInputError} for changes that do not fit the base
 * @throws {RefusedError} if nothing would change
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
