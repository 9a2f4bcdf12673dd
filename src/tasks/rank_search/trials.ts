/** Trains the trials of a search, each in a folder of its own from which it can go on. */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import { fileValues } from "../../config/file.ts";
import { type Message, ParameterError } from "../../errors.ts";
import { FINE_TUNE_PARAMETERS, type FineTuneEvent } from "../../finetune/mod.ts";
import { checkpointsOf } from "../../finetune/saved_config.ts";
import type { Candidate } from "../../search/candidate.ts";
import { type Metric, scoreOf, type SearchMetric, type Validated } from "../../search/metric.ts";
import type { TrialEnd, TrialRunner } from "../../search/search.ts";
import { exists, removeDirectory } from "../../system/durable_files.ts";
import { argmax } from "../../statistics.ts";
import { candidateConfig } from "./candidate_config.ts";
import type { RankSearchConfig } from "./settings.ts";
import { accuracyOf, type Trained, type Trial, type TrialTrainer } from "./train_trial.ts";
import type { TrialJournal, TrialRecord } from "./trial_journal.ts";

/** What trials report. */
export type TrialEvent =
  /** A trial begins, or goes on, until it has taken `steps` of `totalSteps`. */
  | {
    readonly kind: "trial began";
    readonly name: string;
    readonly seed: number;
    readonly steps: number;
    readonly totalSteps: number;
    /** The rank of a job that trains it; 0 is this process. */
    readonly rank: number;
  }
  /** What a training in this process reports. */
  | { readonly kind: "training"; readonly event: FineTuneEvent }
  /** A trial has been measured; `known` from an earlier run of the search. */
  | { readonly kind: "trial ended"; readonly record: TrialRecord; readonly known: boolean }
  /** A candidate cannot be trained. */
  | { readonly kind: "trial failed"; readonly name: string; readonly reason: Message };

/** What all trials of a search have in common. */
export interface TrialMeans {
  readonly config: RankSearchConfig;
  /** Digests of base and data. */
  readonly identity: readonly string[];
  /** Steps of a whole training. */
  readonly totalSteps: number;
  readonly journal: TrialJournal;
  readonly onEvent: (event: TrialEvent) => void;
  /** Ends the search in order. */
  readonly signal: AbortSignal;
  /** Fires when the search has no more time. */
  readonly deadline: AbortSignal;
}

/** Parameters that decide nothing of a trial's result, or that its digests and name say. */
const IRRELEVANT: ReadonlySet<string> = new Set([
  ...["model", "data", "adapter_path", "epochs", "iters", "steps_per_report", "save_every"],
  ...["keep_checkpoints", "memory_budget", "prefix_cache", "window", "max_temperature"],
  ...["min_battery", "ort_lib", "threads"],
]);

/** Trials of a search by candidate and seed. */
export class Trials implements TrialRunner {
  readonly #means: TrialMeans;
  readonly #failure = new AbortController();
  readonly #stop: AbortSignal;
  /** Those that have nothing to do. */
  readonly #free: TrialTrainer[];
  readonly atOnce: number;
  #metric: Metric | undefined;

  /** @param trainers each takes one trial at a time */
  constructor(means: TrialMeans, trainers: readonly TrialTrainer[]) {
    this.#means = means;
    this.#free = [...trainers];
    this.atOnce = trainers.length;
    this.#stop = AbortSignal.any([means.signal, means.deadline, this.#failure.signal]);
  }

  /** The metric, once a trial has shown what the task has. */
  get metric(): Metric | undefined {
    return this.#metric;
  }

  /** Trains a candidate until it has taken this many steps, or looks up what that gave. */
  async run(candidate: Candidate, seed: number, steps: number): Promise<TrialEnd> {
    const { journal, deadline, signal } = this.#means;
    const trial = this.#digest(candidate, seed);
    const known = journal.find(trial, steps);
    if (known !== undefined) return this.#ended(known, true);
    if (deadline.aborted) return { kind: "out of time" };
    const { name } = candidate;
    const before = journal.last(trial)?.seconds ?? 0;
    const adapterPath = this.folder(candidate, seed);
    const { end, seconds } = await this.#train({ candidate, seed, steps, adapterPath });
    if (end === "out of time") {
      signal.throwIfAborted();
      return { kind: "out of time" };
    }
    if ("refused" in end) return this.#failed(name, end.refused);
    const record = { trial, name, seed, steps, seconds: before + seconds, ...end };
    journal.append(record);
    return this.#ended(record, false);
  }

  /** Removes what the trials of a candidate have on the disk. */
  drop(candidate: Candidate): void {
    for (const seed of this.#seeds()) {
      const folder = this.folder(candidate, seed);
      if (exists(folder)) removeDirectory(folder);
    }
  }

  /** Keeps the adapter of a candidate's best seed and removes everything else of it. */
  keepBest(candidate: Candidate, scores: readonly number[]): void {
    const best = this.bestFolder(candidate, scores);
    for (const seed of this.#seeds()) {
      const folder = this.folder(candidate, seed);
      const unused = folder === best ? checkpointsOf({ adapterPath: folder }) : folder;
      if (exists(unused)) removeDirectory(unused);
    }
  }

  /** Folder of the trial with a candidate's best score. */
  bestFolder(candidate: Candidate, scores: readonly number[]): string {
    return this.folder(candidate, this.#seeds()[argmax(scores)]);
  }

  /** Folder of a trial. */
  folder(candidate: Candidate, seed: number): string {
    const digest = this.#digest(candidate, seed).slice(0, 12);
    return join(
      this.#means.config.savePath,
      "trials",
      `rank-${candidate.rank}-seed-${seed}-${digest}`,
    );
  }

  /** Seconds of training that a candidate's trials took on average, as far as they went. */
  seconds(candidate: Candidate): number {
    const all = this.#seeds().map((seed) =>
      this.#means.journal.last(this.#digest(candidate, seed))?.seconds ?? 0
    );
    return all.reduce((sum, one) => sum + one, 0) / all.length;
  }

  /** Trains with a trainer that is free; if one fails, the others stop. */
  async #train(trial: Trial): Promise<Trained> {
    const trainer = this.#free.shift()!;
    const { onEvent, totalSteps } = this.#means;
    const { candidate: { name }, seed, steps } = trial;
    onEvent({ kind: "trial began", name, seed, steps, totalSteps, rank: trainer.rank });
    try {
      return await trainer.train(trial, this.#stop);
    } catch (error) {
      this.#failure.abort();
      throw error;
    } finally {
      this.#free.unshift(trainer);
    }
  }

  #seeds(): readonly number[] {
    return seedsOf(this.#means.config);
  }

  #digest(candidate: Candidate, seed: number): string {
    const { config, identity, totalSteps } = this.#means;
    const values = fileValues(
      { ...candidateConfig(config, candidate), seed } as unknown as Record<string, unknown>,
      FINE_TUNE_PARAMETERS,
    );
    const relevant = Object.entries(values).filter(([key]) => !IRRELEVANT.has(key)).sort();
    return createHash("sha256").update(JSON.stringify([identity, totalSteps, relevant]))
      .digest("hex");
  }

  #ended(record: TrialRecord, known: boolean): TrialEnd {
    const { onEvent, config } = this.#means;
    if (record.failed !== undefined) return this.#failed(record.name, record.failed);
    onEvent({ kind: "trial ended", record, known });
    const found = { loss: record.loss!, ...accuracyOf(record) };
    this.#metric ??= metricOf(config.metric, found);
    return { kind: "scored", score: scoreOf(this.#metric, found) };
  }

  #failed(name: string, reason: Message): TrialEnd {
    this.#means.onEvent({ kind: "trial failed", name, reason });
    return { kind: "failed", reason };
  }
}

/** Seeds of each candidate. */
export const seedsOf = ({ seed, seeds }: RankSearchConfig): readonly number[] =>
  Array.from({ length: seeds }, (_, i) => seed + i);

/** @throws {ParameterError} for an accuracy that the task has not */
function metricOf(asked: SearchMetric, { accuracy }: Validated): Metric {
  if (asked === "auto") return accuracy === undefined ? "loss" : "accuracy";
  if (asked !== "accuracy" || accuracy !== undefined) return asked;
  throw new ParameterError(
    "metric",
    (name) => `${name("metric", asked)} needs a classification: take loss or perplexity`,
  );
}
