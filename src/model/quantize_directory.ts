/** Quantises a model on disk and compares the result with it. */
import { basename, dirname, join } from "@std/path";
import type { TokenBatch } from "../data/targets.ts";
import { BadInputError, UsageError } from "../errors.ts";
import { runOn } from "../eval/run_on.ts";
import { tensorsOf } from "../graph/nested.ts";
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Graph, Model } from "../graph/types.ts";
import { callsOf, findModules } from "../lora/modules.ts";
import { looksUp } from "../ops/kinds.ts";
import { readsBlocks, WEIGHT_BYTES_AT_ONCE } from "../plan/compared_pieces.ts";
import { bindInputs, TOKEN_INPUTS } from "../plan/inputs.ts";
import {
  planQuantize,
  type QuantizeOptions,
  type QuantizePlan,
  type QuantizeReport,
} from "../quant/quantize_model.ts";
import { Scratch } from "../quant/scratch.ts";
import { inPieces } from "../runtime/in_pieces.ts";
import { type Runner, WITHOUT_REPACKING } from "../runtime/runner.ts";
import { forgetMapped, openMapped } from "../system/mapped_file.ts";
import { giveWay } from "./give_way.ts";
import { clearLeftovers } from "./leftovers.ts";
import { loadOnnx } from "./load_onnx.ts";
import { checkTarget, StagedDirectory } from "./staged_directory.ts";
import { type BaseModel, checkNotBase, writeModel } from "./write_model.ts";

export interface QuantizeRequest extends QuantizeOptions {
  readonly base: BaseModel & { readonly sizeBytes: number };
  /** Folder to write. */
  readonly savePath: string;
  /** Whether the head that makes the logits is quantised too; default false. */
  readonly includeHead?: boolean;
  /** Replaces an existing folder. */
  readonly force?: boolean;
  readonly onWeight?: (report: QuantizeReport, done: number, total: number) => void;
  /** Ends the work after the weight or run in work: its reason is thrown and nothing is left. */
  readonly signal?: AbortSignal;
}

/** What a quantisation did. */
export interface QuantizeResult {
  /** Each weight that was quantised. */
  readonly weights: readonly QuantizeReport[];
  /** Bytes of the base's files. */
  readonly sizeBytesBefore: number;
  /** Bytes of the written files. */
  readonly sizeBytesAfter: number;
  /** ‖ŷ − y‖/‖y‖ of each float output on random tokens; none where the model takes something else. */
  readonly outputErrors: ReadonlyMap<string, number>;
  /** Why outputs were not compared. */
  readonly notCompared?: string;
}

/** Random tokens to compare outputs on: [sequences, length]. */
const SAMPLE = [2, 32] as const;

/**
 * Writes a weight-only quantised copy of a model.
 *
 * @throws {UsageError} where nothing in the model can be quantised, or the folder exists
 */
export async function quantizeDirectory(
  runner: Runner,
  request: QuantizeRequest,
): Promise<QuantizeResult> {
  const { base, savePath, force = false, signal } = request;
  checkNotBase(savePath, base.path);
  clearLeftovers(dirname(savePath));
  checkTarget(savePath, force);
  const linears = findModules(base.model, { allowAmbiguous: true })
    .filter(({ head }) => request.includeHead === true || !head)
    .flatMap((module) => callsOf(module).map((call) => ({ ...module, ...call })));
  const plan = planQuantize(base.model, linears, request);
  if (plan.tasks.length === 0) {
    throw new UsageError(
      `Cannot quantise ${base.path}: it has no linear layer with a float weight of at least ` +
        `${request.minElements ?? 4096} elements`,
    );
  }
  using staged = new StagedDirectory(savePath);
  const weights = await writeQuantized(staged, base, plan, request);
  using written = loadOnnx(join(staged.path, basename(base.path)), openMapped);
  const compared = await compare(runner, base.model, written.model);
  await giveWay(signal); // the last moment to stop: from here on the target is replaced
  staged.commit(force);
  return {
    weights,
    sizeBytesBefore: base.sizeBytes,
    sizeBytesAfter: written.sizeBytes,
    ...compared,
  };
}

/** Compares outputs where the model takes tokens, and sees in any case whether the runtime takes it. */
async function compare(
  runner: Runner,
  base: Model,
  written: Model,
): Promise<Pick<QuantizeResult, "outputErrors" | "notCompared">> {
  const notCompared = takesOther(base.graph);
  if (notCompared !== undefined) {
    using _ = await runner.compile(written, { label: "comparison" });
    return { outputErrors: new Map(), notCompared };
  }
  const batch = randomTokens(base);
  const before = await outputsOf(runner, base, batch);
  const after = await outputsOf(runner, written, batch);
  return {
    outputErrors: new Map(
      [...before].map(([name, y]) => [name, relativeDifference(after.get(name)!, y)]),
    ),
  };
}

/** What a model takes beside tokens and empty caches, in words. */
function takesOther(graph: Graph): string | undefined {
  const [batch, length] = SAMPLE;
  try {
    for (const [name, { dims }] of bindInputs(graph, { batch, length })) {
      if (TOKEN_INPUTS.includes(name) || dims.includes(0)) continue;
      return `input "${name}" takes no tokens`;
    }
  } catch (error) {
    if (error instanceof BadInputError) return error.message;
    throw error;
  }
}

/**
 * Quantises the weights of a plan one at a time and writes each where it belongs.
 *
 * @throws {StorageError} naming the path
 */
export async function writeQuantized(
  staged: StagedDirectory,
  base: BaseModel,
  { model, tasks }: QuantizePlan,
  { onWeight, signal }: Pick<QuantizeRequest, "onWeight" | "signal"> = {},
): Promise<readonly QuantizeReport[]> {
  return await writeModel(staged, base, model, async (write) => {
    const weights: QuantizeReport[] = [];
    const scratch = new Scratch();
    for (const task of tasks) {
      const { tensors, report } = task.compute(scratch);
      for (const [name, { bytes }] of tensors) write(name, bytes);
      forgetMapped(task.source.bytes);
      weights.push(report);
      onWeight?.(report, weights.length, tasks.length);
      await giveWay(signal);
    }
    return weights;
  });
}

async function outputsOf(
  runner: Runner,
  model: Model,
  batch: TokenBatch,
): Promise<ReadonlyMap<string, Tensor>> {
  // Caches are intermediate values; outputs are what users see.
  const names = model.graph.outputs
    .filter(({ name, type }) => !name.startsWith("present") && type?.dtype.startsWith("float"))
    .map(({ name }) => name);
  const config = readsBlocks(model.graph) ? {} : WITHOUT_REPACKING;
  const executable = inPieces(runner, model, WEIGHT_BYTES_AT_ONCE, { label: "comparison", config });
  const results = await runOn(runner, executable, model.graph, batch, new Map(), names);
  const out = new Map<string, Tensor>();
  for (const [name, held] of Object.entries(results)) {
    out.set(name, held.read());
    held[Symbol.dispose]();
  }
  return out;
}

function randomTokens(model: Model): TokenBatch {
  const [rows, length] = SAMPLE;
  const vocabulary = vocabularySize(model);
  let state = 12345;
  const ids = Array.from({ length: rows * length }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0; // C's example generator
    return (state >>> 8) % vocabulary;
  });
  return {
    inputIds: int64([rows, length], ids),
    attentionMask: int64([rows, length], ids.map(() => 1)),
    tokenCount: ids.length,
  };
}

/** Rows of the table that `input_ids` are looked up in. */
function vocabularySize({ graph }: Model): number {
  const lookup = graph.nodes.find((node) => looksUp(node) && node.inputs[1] === "input_ids");
  return tensorsOf(graph).get(lookup?.inputs[0] ?? "")?.dims[0] ?? 100;
}

function relativeDifference(a: Tensor, b: Tensor): number {
  const [x, y] = [toNumbers(a), toNumbers(b)];
  let [difference, norm] = [0, 0];
  for (let i = 0; i < y.length; i++) {
    difference += (x[i] - y[i]) ** 2;
    norm += y[i] ** 2;
  }
  return norm > 0 ? Math.sqrt(difference / norm) : Math.sqrt(difference);
}
