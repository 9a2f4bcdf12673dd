/** Compares run times of models fairly: interleaved runs, and the base against itself as a control. */
import type { Graph, Model } from "../graph/types.ts";
import type { Latency } from "../lora/merge/certificate.ts";
import { median } from "../statistics.ts";
import { bindInputs } from "../plan/inputs.ts";
import { batchFeed } from "../eval/batch_feed.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import type { TokenBatch } from "../data/targets.ts";
import { freeBytes as freeNow } from "../system/memory.ts";
import { emptyRecord } from "../records.ts";
import { safeForm } from "../runtime/safe_form.ts";
import { timedRun } from "../runtime/timed_run.ts";

/** A model on disk and its graph, for the shapes of its inputs. */
export interface TimedModel {
  readonly path: string;
  readonly graph: Graph;
}

export interface LatencyOptions {
  /** Runs of each model that are not counted; default 3. */
  readonly warmup?: number;
  /** Rounds to run at least and at most; default 20 and 200. */
  readonly minRounds?: number;
  readonly maxRounds?: number;
  /** Time after which no further round begins; default 5 s. */
  readonly budgetMs?: number;
  /** Memory that can be taken; default: what the system says is free. */
  readonly freeBytes?: number;
  /** Ends it between two rounds: its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** Models that are open at once: base, control and candidate. */
const OPEN = 3;
/** A session's weights beside its file's pages: repacked for the kernels. */
const BYTES_OF_FILE = 2;
/** Share of the free memory that may be taken. */
const SHARE_OF_FREE = 0.8;

/** Why models of a size are not timed: three of them do not fit; `undefined` where they do. */
export function whyNotTimed(
  sizeBytes: number,
  { freeBytes = freeNow() }: LatencyOptions = {},
): string | undefined {
  const needed = OPEN * BYTES_OF_FILE * sizeBytes;
  if (freeBytes === undefined || needed <= SHARE_OF_FREE * freeBytes) return undefined;
  const [takes, free] = [needed, freeBytes].map((bytes) => `${Math.round(bytes / 1e6)} MB`);
  return `Latency is left out: base twice and merged model take about ${takes}, and ${free} is free`;
}

/**
 * Why a model is not timed, which its runtime would load as it is: the file holds what ends the process;
 * `undefined` where it does not.
 */
export function whyNotLoaded(model: Model): string | undefined {
  if (safeForm(model) === model) return undefined;
  return "Latency is left out: ONNX Runtime may crash over the model's file, which graft runs in another form";
}

/** Times candidates against one base, which is loaded twice and stays loaded. */
export class LatencyBench implements Disposable {
  readonly #runner: Runner;
  readonly #batch: TokenBatch;
  readonly #base: Timed;
  readonly #control: Timed;

  private constructor(runner: Runner, batch: TokenBatch, base: Timed, control: Timed) {
    this.#runner = runner;
    this.#batch = batch;
    this.#base = base;
    this.#control = control;
  }

  /** @param batch what each run computes: one request of a typical length, unpadded */
  static async open(runner: Runner, base: TimedModel, batch: TokenBatch): Promise<LatencyBench> {
    const first = await Timed.load(runner, base, batch);
    try {
      return new LatencyBench(runner, batch, first, await Timed.load(runner, base, batch));
    } catch (error) {
      first[Symbol.dispose]();
      throw error;
    }
  }

  /** Runs base, control and candidate in turn, in an order that rotates from round to round. */
  async measure(candidate: TimedModel, options: LatencyOptions = {}): Promise<Latency> {
    const { warmup = 3, minRounds = 20, maxRounds = 200, budgetMs = 5000 } = options;
    using merged = await Timed.load(this.#runner, candidate, this.#batch);
    const models = [this.#base, this.#control, merged];
    for (let i = 0; i < warmup; i++) for (const model of models) await model.run();
    const times: number[][] = [[], [], []];
    const until = performance.now() + budgetMs;
    for (let round = 0; round < maxRounds; round++) {
      if (round >= minRounds && performance.now() > until) break;
      options.signal?.throwIfAborted();
      for (let i = 0; i < 3; i++) {
        // All six orders take turns, so that none always follows the same neighbour.
        const at = (round % 2 === 0 ? i : 2 - i) + Math.floor(round / 2);
        times[at % 3].push(await models[at % 3].run());
      }
    }
    const [base, control, own] = times;
    return {
      milliseconds: median(own),
      baseMilliseconds: median(base),
      ratio: median(own.map((time, i) => time / base[i])),
      controlRatio: median(control.map((time, i) => time / base[i])),
      rounds: own.length,
    };
  }

  [Symbol.dispose](): void {
    this.#base[Symbol.dispose]();
    this.#control[Symbol.dispose]();
  }
}

/** A loaded model with its inputs in place. */
class Timed implements Disposable {
  private constructor(
    readonly executable: Executable,
    readonly feeds: Readonly<Record<string, DeviceTensor>>,
  ) {}

  static async load(
    runner: Runner,
    { path, graph }: TimedModel,
    batch: TokenBatch,
  ): Promise<Timed> {
    const executable = await runner.load(path, { label: "latency" });
    const [rows, length] = batch.inputIds.dims;
    const feeds = emptyRecord<DeviceTensor>();
    for (const [name, input] of bindInputs(graph, { batch: rows, length })) {
      feeds[name] = runner.upload(batchFeed(name, input, batch));
    }
    return new Timed(executable, feeds);
  }

  /** Milliseconds of one run. */
  run(): Promise<number> {
    return timedRun(this.executable, this.feeds);
  }

  [Symbol.dispose](): void {
    for (const feed of Object.values(this.feeds)) feed[Symbol.dispose]();
    this.executable[Symbol.dispose]();
  }
}
