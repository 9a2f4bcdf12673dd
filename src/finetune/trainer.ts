/** Fine-tuning for programs: takes a configuration, writes an adapter and reports events on the way. */
import type { TokenBatch } from "../data/targets.ts";
import type { BatchSource } from "../train/step.ts";
import type { Communicator } from "../distributed/communicator.ts";
import { compareRanks } from "../distributed/job.ts";
import { checkRuns } from "./check_runs.ts";
import type { FineTuneConfig, FineTuneInput } from "./config.ts";
import type { FineTuneEvent, OnEvent } from "./events.ts";
import { joinRanks } from "./join_ranks.ts";
import { identityOf } from "./run_loop.ts";
import { prepareTraining } from "./prepare_training.ts";
import { resolveConfig } from "./resolve_config.ts";
import { type FineTuneResult, runTraining } from "./run_training.ts";
import type { TrainingParts } from "./training_parts.ts";

/** How a fine-tuning run is watched and stopped. */
export interface FineTuneOptions {
  /** Called with what is found, chosen and done, as it happens. */
  readonly onEvent?: OnEvent<FineTuneEvent>;
  /**
   * Ends the fine-tuning cleanly. During training, the current batch is finished, the adapter and a
   * checkpoint are saved, and the result says `interrupted`; at any other time the call rejects with the
   * signal's reason.
   */
  readonly signal?: AbortSignal;
  /** Whether this process trains by itself, even if an MPI launcher started it with others; default false. */
  readonly alone?: boolean;
}

/** A fine-tuning run whose model, data and adapter are loaded and checked; it can be run once. */
export class Trainer implements Disposable {
  readonly #parts: TrainingParts<TokenBatch>;
  readonly #onEvent: OnEvent<FineTuneEvent>;
  readonly #ranks: Communicator | undefined;
  readonly #ending: AbortController;
  #hasRun = false;

  private constructor(
    /** The configuration, with every default filled in. */
    readonly config: FineTuneConfig,
    parts: TrainingParts<TokenBatch>,
    onEvent: OnEvent<FineTuneEvent>,
    ranks: Communicator | undefined,
    ending: AbortController,
  ) {
    this.#parts = parts;
    this.#onEvent = onEvent;
    this.#ranks = ranks;
    this.#ending = ending;
  }

  /** The training rows in batches; they are released with the trainer. */
  get data(): BatchSource<TokenBatch> {
    return this.#parts.data;
  }

  /** The validation rows in batches, if there are any. */
  get validation(): BatchSource<TokenBatch> | undefined {
    return this.#parts.validation;
  }

  /** The test rows in batches, if the configuration asks for them. */
  get test(): BatchSource<TokenBatch> | undefined {
    return this.#parts.test;
  }

  /**
   * Loads and checks everything that a run needs; writes nothing.
   *
   * @throws {ParameterError} for a configuration that cannot be used, naming the parameter
   * @throws {BadInputError | UsageError} for a model, data or an adapter that cannot be used
   * @throws {RefusedError} if training would not compute what the model does, or memory does not suffice
   * @throws {LostPeerError} if another rank of a job of several boards is gone
   */
  static async open(
    input: FineTuneInput,
    { onEvent = () => {}, signal, alone = false }: FineTuneOptions = {},
  ): Promise<Trainer> {
    const config = resolveConfig(input);
    signal?.throwIfAborted();
    const ending = new AbortController();
    const ranks = alone ? undefined : await joinRanks(config, ending.signal);
    const isFirst = ranks === undefined || ranks.rank === 0;
    const told = isFirst ? onEvent : () => {};
    try {
      if (isFirst) checkRuns(config);
      if (ranks !== undefined) {
        const { count, library } = ranks;
        told({ kind: "ranks", count, stages: config.pipeline, library });
      }
      const parts = await prepareTraining(config, { own: { peers: ranks }, onEvent: told, signal });
      if (ranks !== undefined) {
        const identity = { ...identityOf(parts, config), resume: `${config.resume}` };
        await compareRanks(ranks, identity, "train");
        ranks.endPreparation();
      }
      return new Trainer(config, parts, told, ranks, ending);
    } catch (error) {
      ranks?.endAllAtExit(error);
      throw error;
    }
  }

  /**
   * Trains, saves the adapter in the folder `adapterPath`, and evaluates it on the test data if the
   * configuration says so.
   *
   * @param options `test: false` skips the evaluation on the test data
   * @throws {ParameterError} for parameters that need missing data
   * @throws {UsageError} if the run to resume had other settings or data
   * @throws {StorageError} if something cannot be written
   * @throws {LostPeerError} if another rank of a job of several boards is gone
   */
  async run(
    { signal, test = this.config.test }: {
      readonly signal?: AbortSignal;
      readonly test?: boolean;
    } = {},
  ): Promise<FineTuneResult> {
    const [ranks, onEvent] = [this.#ranks, this.#onEvent];
    const config = { ...this.config, test };
    if (ranks === undefined) return await runTraining(this.#parts, config, { signal, onEvent });
    const stop = () => this.#ending.abort();
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    this.#hasRun = true;
    let result: FineTuneResult;
    try {
      const watched = { signal: ranks.ending, onEvent, peers: ranks };
      const began = performance.now();
      result = await runTraining(this.#parts, config, watched);
      const seconds = (performance.now() - began) / 1000;
      onEvent({
        kind: "waited",
        share: ranks.waited / seconds,
        overlap: ranks.overlapped / seconds,
      });
    } catch (error) {
      ranks.endAllAtExit(error);
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    await ranks.leave();
    return result;
  }

  /** Frees model, data and runtime. */
  [Symbol.dispose](): void {
    this.#parts[Symbol.dispose]();
    if (!this.#hasRun) void this.#ranks?.leave();
  }
}

/**
 * Fine-tunes a model on a data set and saves the adapter in `config.adapterPath`.
 *
 * @returns how training ended; a loss that diverges or a signal is not an error
 * @throws {ParameterError} for a configuration that cannot be used, naming the parameter
 * @throws {BadInputError | UsageError} for a model, data or an adapter that cannot be used
 * @throws {RefusedError} if training would not compute what the model does, or memory does not suffice
 * @throws {StorageError} if something cannot be written
 *
 * @example Trains the model that graft carries for three steps
 * ```ts
 * import { fineTune } from "./trainer.ts";
 *
 * const adapterPath = Deno.makeTempDirSync();
 * const { training } = await fineTune(
 *   {
 *     model: "default",
 *     data: "quickstart",
 *     targetModules: ["all-linear"],
 *     rank: 4,
 *     iters: 3,
 *     stepsPerReport: 1,
 *     adapterPath,
 *   },
 *   {
 *     onEvent: (event) => {
 *       if (event.kind === "report") console.log(event.report.step, event.report.loss);
 *     },
 *   },
 * );
 * console.log(training?.end, Deno.statSync(`${adapterPath}/adapter_model.safetensors`).size);
 * Deno.removeSync(adapterPath, { recursive: true });
 * ```
 */
export async function fineTune(
  input: FineTuneInput,
  { signal, ...options }: FineTuneOptions = {},
): Promise<FineTuneResult> {
  using trainer = await Trainer.open(input, { signal, ...options });
  return await trainer.run({ signal });
}
