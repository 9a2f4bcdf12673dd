/** Searches for the rank and the modules of an adapter, given paths and settings. */
import { join } from "@std/path";
import { parseDuration } from "../config/duration.ts";
import { formatConfig } from "../config/file.ts";
import type { Communicator } from "../distributed/communicator.ts";
import { inJob } from "../distributed/job.ts";
import { BusyError, type NameParameter, ParameterError, RefusedError, worded } from "../errors.ts";
import {
  DEFAULT_EPOCHS,
  FINE_TUNE_PARAMETERS,
  type FineTuneConfig,
  type FineTuneEvent,
  Trainer,
} from "../finetune/mod.ts";
import { findModelFile } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { reasonOf } from "../search/reason.ts";
import { ranked } from "../search/pick.ts";
import { rungsOf } from "../search/rungs.ts";
import { search, type SearchOutcome, type Standing } from "../search/search.ts";
import { searchPlot } from "../search/search_plot.ts";
import type { Candidate } from "../search/candidate.ts";
import { exists, makeDirectory, removeDirectory, replaceFile } from "../system/durable_files.ts";
import { tryLock } from "../system/file_lock.ts";
import { openMapped } from "../system/mapped_file.ts";
import { stepsOf } from "../train/loop.ts";
import { AdapterShapes } from "./rank_search/adapter_shapes.ts";
import { candidateConfig } from "./rank_search/candidate_config.ts";
import { gradientSpectra } from "./rank_search/gradient_spectra.ts";
import { plotted, type RankSearchResult, searchedCandidates } from "./rank_search/result.ts";
import { resultJson } from "./rank_search/result_json.ts";
import { OtherRanks, serveSearch } from "./rank_search/other_ranks.ts";
import { saveSearchConfig } from "./rank_search/saved_search.ts";
import { searchIdentity } from "./rank_search/search_identity.ts";
import {
  type RankSearchConfig,
  type RankSearchInput,
  resolveSearch,
} from "./rank_search/settings.ts";
import { LocalTrainer } from "./rank_search/train_trial.ts";
import { TrialJournal } from "./rank_search/trial_journal.ts";
import { seedsOf, type TrialEvent, Trials } from "./rank_search/trials.ts";
import type { Watch } from "./watch.ts";

/** What a search of ranks reports while it runs. */
export type RankSearchEvent =
  | TrialEvent
  /** Several processes train the trials. */
  | { readonly kind: "ranks"; readonly count: number; readonly library: string }
  /** Before the first trial: how long trainings are, and after how many steps they are compared. */
  | {
    readonly kind: "planned";
    readonly seeds: readonly number[];
    readonly rungs: readonly number[];
    readonly ranks: readonly string[];
  }
  /** Ranks by the gradient's singular values; 0 for modules that are left alone. */
  | {
    readonly kind: "ranks by layer";
    readonly modules: readonly {
      readonly path: string;
      readonly rank: number;
      /** The largest singular value, and the norm of all. */
      readonly largest: number;
      readonly norm: number;
    }[];
  };

/**
 * Searches for the smallest rank that suffices, then for the modules that make most of its parameters.
 *
 * Every trial is a training by `fineTune` in a folder below `savePath`. A search that was stopped or killed
 * goes on with `resume`: trials that have ended are in its journal, others go on from their checkpoints.
 *
 * Processes that an MPI launcher has started each train whole adapters. The first has the search's folder and
 * writes; all return what it found, with its paths.
 *
 * @throws {ParameterError} for a setting that is unknown, missing or out of range
 * @throws {BadInputError | UsageError} for a model or data that cannot be used
 * @throws {RefusedError} if no candidate can be trained, or the time ended before one was measured
 * @throws {BusyError} if another search works in the folder
 * @throws {LostPeerError} if another process of a job is gone; what has ended is in the journal
 * @throws {StorageError} naming what could not be written
 *
 * @example
 * ```ts
 * import { rankSearch } from "./rank_search.ts";
 *
 * const { recommended, candidates } = await rankSearch({
 *   model: "./model-int4",
 *   data: "./data",
 *   ranks: [1, 2],
 *   targetSets: ["q,v"],
 *   seeds: 2,
 *   iters: 2,
 *   halving: false,
 *   savePath: "./ranks",
 * });
 * for (const { name, value, parameters } of candidates) console.log(name, value, parameters);
 * console.log(recommended.reason, recommended.configPath);
 * ```
 */
export async function rankSearch(
  input: RankSearchInput,
  { onEvent = () => {}, signal = new AbortController().signal }: Watch<RankSearchEvent> = {},
): Promise<RankSearchResult> {
  const config = resolveSearch(input);
  return await inJob(
    { timeout: config.collectiveTimeout, resumes: true },
    (ranks) =>
      ranks !== undefined && ranks.rank > 0
        ? serve(ranks, config, signal)
        : searchHere(ranks, config, { onEvent, signal }),
  );
}

/** The part of rank 0, or of a process that is alone. */
async function searchHere(
  ranks: Communicator | undefined,
  config: RankSearchConfig,
  { onEvent, signal }: SearchWatch,
): Promise<RankSearchResult> {
  if (ranks !== undefined) {
    onEvent({ kind: "ranks", count: ranks.count, library: ranks.library });
  }
  using _lock = takeFolder(config);
  using deadline = deadlineOf(config);
  using base = loadOnnx(findModelFile(config.model), openMapped);
  const shapes = new AdapterShapes(base.model, config);
  const candidates = shapes.ranks();
  checkPerLayer(config);
  const identity = await searchIdentity(base.model, config);
  signal.throwIfAborted();
  const totalSteps = await wholeSteps(candidateConfig(config, candidates[0]), { onEvent, signal });
  const rungs = config.halving ? rungsOf(totalSteps, config.halvingFactor) : [totalSteps];
  const seeds = seedsOf(config);
  onEvent({ kind: "planned", seeds, rungs, ranks: candidates.map(({ name }) => name) });
  saveSearchConfig(config);
  const journal = new TrialJournal(join(config.savePath, "trials.jsonl"), config.resume);
  const means = {
    ...{ config, totalSteps },
    onEvent: (event: FineTuneEvent) => onEvent({ kind: "training", event }),
  };
  using others = ranks && await OtherRanks.meet(ranks, means, identity);
  const trials = new Trials({
    ...{ config, identity, totalSteps, journal, onEvent, signal },
    deadline: deadline.signal,
  }, [new LocalTrainer(means), ...others?.trainers ?? []]);
  const alternatives = async (chosen: Candidate) => [
    ...shapes.targetSets(chosen),
    ...(config.perLayer ? await perLayer(shapes, chosen, config, { onEvent, signal }) : []),
  ];
  const outcome = await search({ ranks: candidates, others: alternatives }, {
    ...{ seeds, rungs, reductionFactor: config.halvingFactor },
    stopsAtPlateau: config.halving,
  }, trials);
  const { picked } = outcome;
  if (picked === undefined) throw nothingMeasured(outcome);
  const result = report(outcome, picked, { config, trials, totalSteps });
  await others?.end(result);
  return result;
}

/** The part of a rank other than 0. */
async function serve(
  ranks: Communicator,
  config: RankSearchConfig,
  signal: AbortSignal,
): Promise<RankSearchResult> {
  using base = loadOnnx(findModelFile(config.model), openMapped);
  const identity = await searchIdentity(base.model, config);
  return await serveSearch(ranks, config, identity, signal);
}

/** @throws {ParameterError} if the adapters have no gradient of a weight to show */
function checkPerLayer({ perLayer, adapterType }: RankSearchConfig): void {
  if (!perLayer || adapterType.includes("lora")) return;
  throw new ParameterError(
    "perLayer",
    (name) =>
      `${name("perLayer", true)} takes the gradients of weights: it needs ` +
      name("adapterType", "lora"),
  );
}

/** @throws {ParameterError | BusyError} for a folder that holds another search */
function takeFolder({ savePath, resume, overwrite }: RankSearchConfig): Disposable {
  const journal = join(savePath, "trials.jsonl");
  if (exists(journal) && !resume && !overwrite) {
    throw new ParameterError(
      "savePath",
      (name) =>
        `${savePath} has an earlier search: ${name("resume", true)} goes on with it, ` +
        `${name("overwrite", true)} drops it, ${name("savePath")} names another folder`,
    );
  }
  makeDirectory(savePath);
  const lock = tryLock(join(savePath, "lock"));
  if (lock === undefined) throw new BusyError(`Another search works in ${savePath}`);
  const trials = join(savePath, "trials");
  if (!resume && exists(trials)) removeDirectory(trials);
  return lock;
}

/** A signal that fires when the search's time is over. */
function deadlineOf({ timeBudget }: RankSearchConfig): Disposable & {
  readonly signal: AbortSignal;
} {
  const controller = new AbortController();
  const timer = timeBudget === undefined
    ? undefined
    : setTimeout(() => controller.abort(), 1000 * parseDuration(timeBudget, "timeBudget"));
  return { signal: controller.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}

type SearchWatch = Required<Watch<RankSearchEvent>>;

/** Steps of a whole training: as configured, or counted from the data. */
async function wholeSteps(
  config: FineTuneConfig,
  { onEvent, signal }: SearchWatch,
): Promise<number> {
  if (config.iters !== undefined) return config.iters;
  using trainer = await Trainer.open(
    { ...config, overwrite: true },
    { signal, alone: true, onEvent: (event) => onEvent({ kind: "training", event }) },
  );
  return stepsOf(trainer.data, config.epochs ?? DEFAULT_EPOCHS, config.gradAccumulationSteps);
}

/** @returns the candidate with ranks by layer; none if memory does not suffice for the gradients */
async function perLayer(
  shapes: AdapterShapes,
  chosen: Candidate,
  config: RankSearchConfig,
  { onEvent, signal }: SearchWatch,
): Promise<readonly Candidate[]> {
  let spectra: ReadonlyMap<string, Float64Array>;
  try {
    spectra = await gradientSpectra(
      candidateConfig(config, chosen),
      shapes.sketchRank(chosen),
      { signal, onEvent: (event: FineTuneEvent) => onEvent({ kind: "training", event }) },
    );
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    const reason = (name: NameParameter) => error.worded(name);
    onEvent({ kind: "trial failed", name: "ranks by layer", reason });
    return [];
  }
  const candidate = shapes.perLayer(chosen, spectra);
  const own = new Set(candidate.targetModules);
  const patterns = new Map(Object.entries(candidate.rankPattern));
  onEvent({
    kind: "ranks by layer",
    modules: [...spectra].map(([path, values]) => ({
      path,
      rank: own.has(path) ? patterns.get(path) ?? candidate.rank : 0,
      largest: values[0],
      norm: Math.hypot(...values),
    })),
  });
  return [candidate];
}

function nothingMeasured({ failed: [first] }: SearchOutcome): RefusedError {
  return new RefusedError((name) =>
    first === undefined
      ? `The time ended before a candidate was measured: ${name("resume", true)} goes on, and ` +
        `${name("timeBudget")} gives it more`
      : `No candidate can be trained: ${first.candidate.name}: ${worded(first.reason, name)}`
  );
}

/** Writes what was found, keeps the best adapters, and removes the others. */
function report(
  outcome: SearchOutcome,
  picked: Standing,
  { config, trials, totalSteps }: {
    readonly config: RankSearchConfig;
    readonly trials: Trials;
    readonly totalSteps: number;
  },
): RankSearchResult {
  const metric = trials.metric!;
  const secondsOf = (candidate: Candidate) => trials.seconds(candidate);
  const candidates = searchedCandidates(outcome, picked, metric, { totalSteps, secondsOf });
  const put = (name: string, text: string) => {
    const path = join(config.savePath, name);
    replaceFile(path, new TextEncoder().encode(text));
    return path;
  };
  const chosen = candidateConfig(config, picked.candidate);
  const plotPath = put("rank-search.svg", searchPlot(plotted(candidates, picked), metric));
  const result: RankSearchResult = {
    ...{ metric, totalSteps, candidates, plotPath, complete: outcome.complete },
    seeds: seedsOf(config),
    wholeTrainings: trialSteps(candidates) / totalSteps,
    failed: outcome.failed.map(({ candidate, reason }) => ({
      name: candidate.name,
      reason: worded(reason),
    })),
    recommended: {
      name: picked.candidate.name,
      reason: reasonOf(picked, outcome.finalists, metric),
      config: chosen,
      configPath: put(
        "recommended.yaml",
        formatConfig(
          { ...chosen, adapterPath: undefined } as unknown as Record<string, unknown>,
          FINE_TUNE_PARAMETERS,
        ),
      ),
      adapterPath: adapterOf(outcome, picked, config, trials),
    },
    resultPath: join(config.savePath, "result.json"),
  };
  put("result.json", resultJson(result));
  return result;
}

/** Steps of all trials of candidates that were measured. */
const trialSteps = (candidates: RankSearchResult["candidates"]) =>
  candidates.reduce((sum, { steps, values }) => sum + steps * values.length, 0);

/** Folder of the recommended adapter; a search that has ended keeps the best, one that goes on all. */
function adapterOf(
  { finalists, complete }: SearchOutcome,
  picked: Standing,
  { keep }: RankSearchConfig,
  trials: Trials,
): string {
  if (!complete) return trials.bestFolder(picked.candidate, picked.scores);
  const best = [picked, ...ranked(finalists).filter((one) => one !== picked)];
  for (const { candidate } of best.slice(keep)) trials.drop(candidate);
  for (const { candidate, scores } of best.slice(0, keep)) trials.keepBest(candidate, scores);
  return trials.bestFolder(picked.candidate, picked.scores);
}
