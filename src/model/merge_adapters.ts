/** Merges adapters into a model on disk, measures every way of doing so and keeps the best. */
import { basename, dirname, join } from "@std/path";
import { BadInputError, RefusedError, RuntimeFailure, UsageError } from "../errors.ts";
import { evaluate, type Evaluator } from "../eval/evaluate.ts";
import type { Model } from "../graph/types.ts";
import { checkBase } from "../lora/apply.ts";
import { modelDigest } from "../lora/digest.ts";
import {
  type AdapterChanges,
  adapterChanges,
  bestCandidate,
  type Candidate,
  chooseCandidate,
  compareMerged,
  type Evaluated,
  gainKept,
  isKept,
  isSteered,
  type Latency,
  LEAST_GAIN_KEPT,
  type LowRankUpdate,
  type Measurements,
  type MergeMethod,
  MIN_GAIN_KEPT,
  type WeightedAdapter,
  withAdapters,
} from "../lora/merge/mod.ts";
import {
  certificateJson,
  type Decision,
  type MeasuredOn,
} from "../lora/merge/certificate_report.ts";
import type { Runner } from "../runtime/runner.ts";
import { mean } from "../statistics.ts";
import { openMapped } from "../system/mapped_file.ts";
import { giveBackFreed } from "../system/memory.ts";
import type { TokenBatch } from "../data/targets.ts";
import { type GramData, gramSource } from "./collect_gram.ts";
import { unpadded } from "./equal_lengths.ts";
import { giveWay, untilAborted } from "./give_way.ts";
import { LatencyBench, type LatencyOptions, whyNotLoaded, whyNotTimed } from "./latency.ts";
import { clearLeftovers } from "./leftovers.ts";
import { loadOnnx } from "./load_onnx.ts";
import { methodsFor } from "./merge_methods.ts";
import { configWithLabels } from "./model_labels.ts";
import { checkTarget, StagedDirectory } from "./staged_directory.ts";
import { type RefusedMerge, writeMerged, type WrittenMerge } from "./write_merged.ts";
import { type BaseModel, checkNotBase } from "./write_model.ts";

/** Data to merge with, in the order it is to be used. */
export interface MergeData {
  readonly objective: "causal" | "classification";
  /** Training data, whose activations error-compensated rounding keeps right. */
  readonly train: GramData;
  /** Held-out data, given again from the start each time. */
  heldOut(): Iterable<TokenBatch> | AsyncIterable<TokenBatch>;
  /** What that is, for the certificate; default nothing is said of it. */
  readonly source?: MeasuredOn;
}

export interface MergeRequest {
  readonly base: BaseModel & { readonly sizeBytes: number };
  readonly adapters: readonly WeightedAdapter[];
  /** Folder to write. */
  readonly savePath: string;
  /** One way of rounding; absent: all that make sense are measured and the smallest good one kept. */
  readonly method?: MergeMethod;
  readonly data?: MergeData;
  /** Measures models on held-out data; default: through the inference graph. */
  readonly evaluate?: Evaluator;
  /** Tunes the scales of a model on data; without it none are tuned. */
  readonly tune?: ScaleTuner;
  /** Share of the gain to aim at; default {@linkcode MIN_GAIN_KEPT}. */
  readonly minGainKept?: number;
  /** Whether adapted matrices may move to 8 bits where their own keep too little; default false. */
  readonly allowLarger?: boolean;
  /** Replaces an existing folder, and writes the best candidate even where it keeps too little. */
  readonly force?: boolean;
  /** Whether to time the models; default true where there is data. */
  readonly latency?: boolean | LatencyOptions;
  /** Told of each matrix, batch or run as it is done. */
  readonly onProgress?: (text: string) => void;
  /** Told what was found on the way: losses, ways of merging that do not work out. */
  readonly onNote?: (text: string) => void;
  /** Ends the work at the next matrix, batch or round: its reason is thrown and nothing is left. */
  readonly signal?: AbortSignal;
}

/**
 * Finds changes of the scales of modules of a merged model that bring back what rounding took.
 *
 * @param paths of the adapted modules; those without scales of their rows or blocks are left alone
 * @throws {UsageError | BadInputError | RefusedError} where none of them can be tuned
 */
export type ScaleTuner = (
  model: Model,
  paths: ReadonlySet<string>,
  how: {
    readonly onStep?: (step: number, steps: number, loss: number) => void;
    readonly signal?: AbortSignal;
  },
) => Promise<ReadonlyMap<string, LowRankUpdate>>;

/** Held-out targets whose logits are compared. */
const LOGIT_ROWS = 64;
/** Name of the certificate in the written folder. */
export const CERTIFICATE_FILE = "certificate.json";

/**
 * Merges, measures, and writes the smallest candidate that keeps enough of the adapters' gain.
 *
 * @returns what was measured and decided
 * @throws {UsageError} where the folder exists or is the base's, or a method needs data
 * @throws {BadInputError} for an adapter of another base
 * @throws {RefusedError} where no candidate keeps enough, or nothing would change
 * @throws {RuntimeFailure} where the runtime could not run what a method makes
 */
export async function mergeAdapters(runner: Runner, given: MergeRequest): Promise<Decision> {
  const request = { ...given, data: interruptible(given.data, given.signal) };
  const { base, adapters, savePath, force = false, signal } = request;
  checkNotBase(savePath, base.path);
  clearLeftovers(dirname(savePath));
  checkTarget(savePath, force);
  for (const { adapter, label } of adapters) checkBase(adapter, base.model, label);
  const changes = adapterChanges(base.model, adapters);
  using staged = new StagedCandidates();
  const found = await measure(runner, request, changes, staged);
  const decided = decide(found, request);
  const written = staged.get(decided.chosen.method)!;
  const latency = await latencyOf(runner, request, written);
  const chosen = latency === undefined ? decided.chosen : { ...decided.chosen, latency };
  const measured = {
    ...found,
    candidates: found.candidates.map((other) => other === decided.chosen ? chosen : other),
  };
  const decision: Decision = {
    ...decided,
    chosen,
    measured,
    baseDigest: modelDigest(base.model),
    adapters: adapters.map(({ label, weight }) => ({ label, weight })),
    runtime: runner.description,
    measuredOn: request.data?.source,
  };
  const { directory } = written;
  writeLabels(directory, adapters);
  directory.replace(CERTIFICATE_FILE, new TextEncoder().encode(certificateJson(decision)));
  await giveWay(signal); // the last moment to stop: from here on the target is replaced
  directory.commit(force);
  return decision;
}

function interruptible(
  data: MergeData | undefined,
  signal: AbortSignal | undefined,
): MergeData | undefined {
  return data && {
    ...data,
    train: { ...data.train, batches: () => untilAborted(data.train.batches(), signal) },
    heldOut: () => untilAborted(data.heldOut(), signal),
  };
}

/** Class names of a classifier go where the base's own would be: into `config.json`. */
function writeLabels(directory: StagedDirectory, adapters: readonly WeightedAdapter[]): void {
  const labels = adapters.map(({ adapter }) => adapter.card?.labels).find((l) => l !== undefined);
  if (labels === undefined) return;
  const text = configWithLabels(directory.readText("config.json"), labels);
  directory.replace("config.json", new TextEncoder().encode(text));
}

/** Unfinished folders by method; those not committed are removed in the end. */
class StagedCandidates implements Disposable {
  readonly #written = new Map<MergeMethod, WrittenMerge>();

  add(written: WrittenMerge): void {
    this.#written.set(written.method, written);
  }

  get(method: MergeMethod): WrittenMerge | undefined {
    return this.#written.get(method);
  }

  [Symbol.dispose](): void {
    for (const { directory } of this.#written.values()) directory[Symbol.dispose]();
  }
}

async function measure(
  runner: Runner,
  request: MergeRequest,
  changes: AdapterChanges,
  staged: StagedCandidates,
): Promise<Measurements> {
  const { base, data, method, onNote } = request;
  // Before any measuring, which takes minutes.
  const methods = methodsFor(
    runner,
    {
      base: base.model,
      method,
      measured: data !== undefined,
      tunes: request.tune !== undefined,
      allowLarger: request.allowLarger,
      onNote,
    },
    changes,
  );
  const adapted = data && withAdapters(base.model, changes);
  const references = data === undefined || adapted === undefined ? {} : {
    // A model without logits gets the new head, so that what the adapter adds to it shows.
    base: await evaluated(runner, changes.finish?.(base.model) ?? base.model, request, "base"),
    adapter: await evaluated(runner, adapted, request, "with adapter"),
  };
  if (references.base !== undefined && references.adapter !== undefined) {
    onNote?.(
      `Held-out loss: base ${references.base.loss.toFixed(4)}, with adapter ` +
        references.adapter.loss.toFixed(4),
    );
    checkFinite(references.base, "the base");
    checkFinite(references.adapter, "the base with the adapter");
  }
  const candidates: Candidate[] = [];
  const failures = new Map<MergeMethod, Error>();
  const evaluate = async (written: WrittenMerge) =>
    void candidates.push(await candidateOf(runner, request, written));
  /** What cannot keep enough is measured only where there is nothing else. */
  let hopeless: WrittenMerge | undefined;
  const take = async (all: readonly (WrittenMerge | RefusedMerge)[]) => {
    for (const written of all) {
      if ("directory" in written) staged.add(written);
      else failures.set(written.method, written.refused);
    }
    for (const written of all) {
      if (!("directory" in written)) continue;
      const { method } = written;
      if (methods.length > 1 && data !== undefined && losesMost(written)) {
        hopeless = written;
        continue;
      }
      try {
        await evaluate(written);
      } catch (error) {
        // Not every build of ONNX Runtime has a kernel for 8 bits.
        const other = error instanceof RuntimeFailure && method === "8bit" && methods.length > 1;
        if (!other) throw error;
        failures.set(method, error);
      }
    }
  };
  const { minGainKept = MIN_GAIN_KEPT } = request;
  for (const together of rewrites(methods)) {
    // What takes longer is tried only where nothing before it keeps enough.
    if (candidates.some((found) => isKept(references, found, minGainKept))) break;
    if (together[0] !== "tuned") {
      await take(await write(runner, request, changes, adapted, together));
      continue;
    }
    const start = staged.get("compensated") ?? staged.get("nearest");
    if (start !== undefined) await take([await writeTuned(runner, request, changes, start)]);
  }
  if (hopeless !== undefined) {
    if (candidates.length === 0) await evaluate(hopeless);
    else onNote?.(`"${hopeless.method}" is not measured: rounding loses most of what changes`);
  }
  // What went wrong is said once: as the error where nothing is left, else as notes.
  const refused = [...failures.values()].findLast((error) => error instanceof RefusedError);
  if (candidates.length === 0) throw refused!; // 8 bits, which may not run, are never alone
  for (const [way, { message }] of failures) onNote?.(`"${way}" is left out: ${message}`);
  return { baseSizeBytes: base.sizeBytes, ...references, candidates };
}

/** Rounding error of a matrix, of ‖ΔW‖, from which on rounding to nearest keeps little of any gain. */
const LOST = 0.5;

/** Whether plain rounding undoes most of the change; steered rounding errs more and keeps more. */
function losesMost({ method, matrices }: WrittenMerge): boolean {
  const changed = matrices.filter(({ deltaNorm }) => deltaNorm > 0);
  return method === "nearest" && changed.length > 0 &&
    mean(changed.map(({ requantisationError }) => requantisationError)) > LOST;
}

/** Nothing can be kept of what is no number, whatever `--force` says. */
function checkFinite({ loss }: Evaluated, what: string): void {
  if (Number.isFinite(loss)) return;
  throw new RefusedError(
    `Refused the merge: ${what} has a loss of ${loss} on the held-out data: ` +
      "look at it with `graft eval`; an adapter that diverged has to be trained again",
  );
}

/**
 * Methods that are computed together, in the order they are tried: those that activations steer share
 * these, and tuning starts from what compensated rounding gives.
 */
function rewrites(methods: readonly MergeMethod[]): readonly (readonly MergeMethod[])[] {
  const tuned = methods.filter((method) => method === "tuned");
  const asked = methods.filter(isSteered);
  const steered = asked.length === 0 ? tuned.map(() => "compensated" as const) : asked;
  const alone = methods.filter((method) => !isSteered(method) && method !== "tuned");
  return [...alone.map((method) => [method]), steered, tuned].filter(({ length }) => length > 0);
}

/** Writes candidates; those that change nothing are refused. */
async function write(
  runner: Runner,
  request: MergeRequest,
  changes: AdapterChanges,
  adapted: Model | undefined,
  methods: readonly MergeMethod[],
): Promise<readonly (WrittenMerge | RefusedMerge)[]> {
  const { data, savePath, signal, onProgress } = request;
  if (data === undefined || adapted === undefined || !methods.every(isSteered)) {
    return await writeMerged({ ...request, runner, changes, methods });
  }
  // Never committed: goes with the rewrite.
  using room = new StagedDirectory(savePath, "activations");
  const grams = gramSource(runner, adapted, data.train, {
    folder: room.path,
    onTokens: (done, atMost) => onProgress?.(`Collecting activations: ${done} of ${atMost} tokens`),
    signal,
  });
  return await writeMerged({ ...request, runner, changes, methods, grams });
}

/** Tunes the scales of what a way of rounding has written, into a folder of its own. */
async function writeTuned(
  runner: Runner,
  request: MergeRequest,
  changes: AdapterChanges,
  start: WrittenMerge,
): Promise<WrittenMerge | RefusedMerge> {
  const { base, tune, signal, onProgress } = request;
  const path = join(start.directory.path, basename(base.path));
  using written = loadOnnx(path, openMapped);
  const paths = new Set(changes.changes.map(({ path }) => path));
  try {
    const scales = await tune!(written.model, paths, {
      onStep: (step, steps, loss) =>
        onProgress?.(`Tuning scales: step ${step} of ${steps}, loss ${loss.toFixed(4)}`),
      signal,
    });
    giveBackFreed();
    const [tuned] = await writeMerged({
      ...request,
      base: { path, model: written.model, sizeBytes: written.sizeBytes },
      runner,
      changes: {
        changes: [...scales].map(([path, update]) => ({
          path,
          updates: [],
          scaleUpdates: [update],
        })),
      },
      methods: ["scales"],
    });
    if (!("directory" in tuned)) return { ...tuned, method: "tuned" };
    using after = loadOnnx(join(tuned.directory.path, basename(base.path)), openMapped);
    const matrices = await compareMerged(base.model, changes.changes, after.model, start.matrices);
    return { method: "tuned", directory: tuned.directory, matrices };
  } catch (error) {
    // A model that merges need not be one that trains.
    const canDoWithout = error instanceof UsageError || error instanceof BadInputError ||
      error instanceof RefusedError;
    if (!canDoWithout) throw error;
    return { method: "tuned", refused: new RefusedError(error.message, { cause: error }) };
  }
}

async function evaluated(
  runner: Runner,
  model: Model,
  { data, evaluate: evaluator, onProgress }: MergeRequest,
  what: string,
): Promise<Evaluated> {
  const { heldOut, objective } = data!;
  const batches = counted(heldOut(), (done) => onProgress?.(`Measuring (${what}): batch ${done}`));
  const options = { objective, logitRows: LOGIT_ROWS };
  const found = evaluator === undefined
    ? await evaluate(runner, model, batches, options)
    : await evaluator(model, batches, options);
  giveBackFreed();
  return { ...found, logitRows: Math.min(LOGIT_ROWS, found.count) };
}

async function* counted<T>(
  items: Iterable<T> | AsyncIterable<T>,
  onItem: (number: number) => void,
): AsyncGenerator<T> {
  let number = 0;
  for await (const item of items) {
    onItem(++number);
    yield item;
  }
}

async function candidateOf(
  runner: Runner,
  request: MergeRequest,
  { method, directory, matrices }: WrittenMerge,
): Promise<Candidate> {
  const { base, data } = request;
  const path = join(directory.path, basename(base.path));
  using written = loadOnnx(path, openMapped);
  const measured = data === undefined
    ? {}
    : { evaluated: await evaluated(runner, written.model, request, method) };
  return { method, sizeBytes: written.sizeBytes, matrices, ...measured };
}

/** How long a candidate's runs take beside the base's; `undefined` where that is not to be measured. */
async function latencyOf(
  runner: Runner,
  request: MergeRequest,
  { directory }: WrittenMerge,
): Promise<Latency | undefined> {
  using bench = await openBench(runner, request);
  if (bench === undefined) return undefined;
  const { base, latency, signal, onProgress } = request;
  onProgress?.("Timing");
  const path = join(directory.path, basename(base.path));
  using written = loadOnnx(path, openMapped);
  const merged = { path, graph: written.model.graph };
  return await bench.measure(merged, { ...timing(latency), signal });
}

const timing = (latency: MergeRequest["latency"]): LatencyOptions =>
  typeof latency === "object" ? latency : {};

async function openBench(
  runner: Runner,
  { base, data, latency = true, onNote }: MergeRequest,
): Promise<LatencyBench | undefined> {
  if (data === undefined || latency === false) return undefined;
  const why = whyNotTimed(base.sizeBytes, timing(latency)) ?? whyNotLoaded(base.model);
  if (why !== undefined) {
    onNote?.(why);
    return undefined;
  }
  for await (const batch of data.heldOut()) {
    for (const row of unpadded(batch)) {
      return await LatencyBench.open(runner, { path: base.path, graph: base.model.graph }, row);
    }
  }
  return undefined;
}

/**
 * @throws {RefusedError} where no candidate keeps enough and `force` is not given
 */
function decide(
  measured: Measurements,
  { minGainKept = MIN_GAIN_KEPT, force = false, allowLarger = false }: MergeRequest,
): Pick<Decision, "chosen" | "forced" | "minGainKept"> {
  const chosen = chooseCandidate(measured, minGainKept);
  if (chosen !== undefined) return { chosen, forced: false, minGainKept };
  const best = bestCandidate(measured)!;
  if (force) return { chosen: best, forced: true, minGainKept };
  const least = Math.min(minGainKept, LEAST_GAIN_KEPT);
  const { base, adapter } = measured;
  const share = gainKept(base!, adapter!, best.evaluated!);
  throw new RefusedError(
    share === undefined
      ? `Refused the merge: the adapter gains nothing on the held-out data (loss ${
        adapter!.loss.toFixed(4)
      } against the base's ${base!.loss.toFixed(4)}) and merging makes it worse (${
        best.evaluated!.loss.toFixed(4)
      }); --force writes it all the same`
      : `Refused the merge: the best way ("${best.method}") keeps ${
        (share * 100).toFixed(1)
      }% of the adapter's gain, less than ${(least * 100).toFixed(1)}%: give more training data, ` +
        `${
          allowLarger ? "" : "--allow-larger, "
        }a lower --min-gain-kept or --dequantize, or add --force`,
  );
}
