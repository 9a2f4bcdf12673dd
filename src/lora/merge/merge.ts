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

/** A value whose Gram matrix is wanted, and how many features it has. */
export interface GramRequest {
  /** Name of the value in the base's graph. */
  readonly value: string;
  readonly cols: number;
}

/**
 * Gives the Gram matrices of values over the training data, by value name. They are worked on in
 * their place; those of a request are done with at the next, which may use their memory.
 *
 * @param following what will be asked for next; nothing in the end
 */
export type GramSource = (
  requests: readonly GramRequest[],
  following?: readonly GramRequest[],
) => Promise<ReadonlyMap<string, Gram>>;

export interface ComputeOptions {
  /**
   * Needed by `compensated` and `fitted`, used by `8bit` where given; for the other methods it adds output errors
   * to the report.
   */
  readonly grams?: GramSource;
  /** Most bytes of Gram matrices held at a time; default 64 MiB. More means fewer passes over the data. */
  readonly gramBytes?: number;
  /** Bytes of float32 of a matrix that are worked on at once; default 1 MiB. More is quicker. */
  readonly slabBytes?: number;
  /** Computes products of matrices, most of the work where there are `grams`; default: in loops. */
  readonly multiply?: MatrixProduct;
  /** Computes what scales are fitted by; default: in loops. */
  readonly scaleProducts?: ScaleProducts;
  /** Told of each matrix when it is done; the next one waits for it. */
  readonly onMatrix?: (
    report: MatrixReport,
    done: number,
    total: number,
    method: MergeMethod,
  ) => void | Promise<void>;
}

/** A plan and where its matrices go. */
export interface MergeWay {
  readonly plan: MergePlan;
  /** Receives the contents of each pending initializer, whole or in stretches. */
  readonly write: WriteBytes;
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
  const [reports] = await computeMerges([{ plan, write }], options);
  const refused = refusalOf(plan, reports);
  if (refused !== undefined) throw refused;
  return reports;
}

/**
 * Computes several plans of one merge together, a matrix of each in turn: Gram matrices are asked for
 * and factored once for all of them.
 *
 * @param ways plans by methods that change the same matrices
 * @returns for each what was done to each matrix; {@linkcode refusalOf} tells whether that is anything
 * @throws {RefusedError} where activations are not finite
 */
export async function computeMerges(
  ways: readonly MergeWay[],
  options: ComputeOptions = {},
): Promise<readonly (readonly MatrixReport[])[]> {
  const reports = ways.map((): MatrixReport[] => []);
  const scratch = new Scratch(options.slabBytes);
  const batches = [...gramBatches(ways, options)];
  for (const [i, batch] of batches.entries()) {
    const grams = await options.grams?.(requestsOf(batch), requestsOf(batches[i + 1] ?? []));
    const layers = new Map<string, LayerInputs>();
    for (const [input, gram] of grams ?? []) {
      if (!Number.isFinite(traceOf(gram))) throw overflowed(input);
      layers.set(input, await prepared(gram, ways, options, scratch));
    }
    for (const tasks of batch) {
      for (const [way, { plan: { method, tasks: { length } }, write }] of ways.entries()) {
        const inputs = layers.get(tasks[way].input);
        if (inputs === undefined && (method === "compensated" || method === "fitted")) {
          throw new RangeError(`No activations were given for "${tasks[way].input}"`);
        }
        const report = await tasks[way].compute(write, inputs, scratch);
        if (report.paths.length === 0) continue;
        reports[way].push(report);
        await options.onMatrix?.(report, reports[way].length, length, method);
      }
    }
  }
  return reports;
}

/**
 * Inputs as all of the ways use them, in the space of their sums.
 *
 * @throws {RangeError} where one way fits scales and another rounds
 */
async function prepared(
  gram: Gram,
  ways: readonly MergeWay[],
  { multiply, scaleProducts }: ComputeOptions,
  scratch: Scratch,
): Promise<LayerInputs> {
  const fitted = ways.filter(({ plan }) => plan.method === "fitted");
  if (fitted.length === 0) {
    return new Weigher(await hessianOf(gram, { multiply, scratch }), multiply, scratch);
  }
  if (fitted.length < ways.length) throw new RangeError("Scales are fitted by themselves");
  return new ScaleFitter(gram, scaleProducts, scratch);
}

const overflowed = (input: string) =>
  new RefusedError(
    `Refused the merge: on the training data "${input}" holds numbers that are not finite, ` +
      "or whose squares are not: --method nearest looks at no data",
  );

/** One matrix as each way computes it. */
type Tasks = readonly MatrixTask[];

/** Runs of matrices whose Gram matrices fit into memory together. */
function* gramBatches(
  ways: readonly MergeWay[],
  { grams, gramBytes = 64 << 20 }: ComputeOptions,
): Generator<readonly Tasks[]> {
  const [{ plan: first }] = ways;
  const all = first.tasks.map((_, i) => ways.map(({ plan }) => plan.tasks[i]));
  if (grams === undefined) return yield all;
  let batch: Tasks[] = [];
  let bytes = 0;
  let inputs = new Set<string>();
  // Layers that share an input (q, k and v; gate and up) share its Gram matrix.
  for (const tasks of all) {
    const [{ input, cols }] = tasks;
    const sizeBytes = 4 * cols * cols;
    if (batch.length > 0 && !inputs.has(input) && bytes + sizeBytes > gramBytes) {
      yield batch;
      [batch, bytes, inputs] = [[], 0, new Set()];
    }
    batch.push(tasks);
    if (!inputs.has(input)) bytes += sizeBytes;
    inputs.add(input);
  }
  yield batch;
}

function requestsOf(batch: readonly Tasks[]): readonly GramRequest[] {
  return [...new Map(batch.map(([{ input, cols }]) => [input, { value: input, cols }])).values()];
}

/** What to try where rounding loses everything. */
const MORE_EXACT: Readonly<Record<MergeMethod, string>> = {
  nearest: "use error-compensated rounding or 8 bits",
  fitted: "use error-compensated rounding or 8 bits",
  compensated: "use 8 bits or store floats",
  tuned: "use 8 bits or store floats",
  scales: "its changes are too small for the type of the scales",
  "8bit": "store floats",
  float: "its updates are too small even for floats",
};

/** Why a merge is refused that changed nothing; `undefined` for others. */
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
