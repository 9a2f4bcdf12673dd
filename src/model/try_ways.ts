/** Tries ways of merging one after another until one keeps enough of the adapters' gain. */
import { basename, join } from "@std/path";
import { RefusedError, RuntimeFailure } from "../errors.ts";
import type { Model } from "../graph/types.ts";
import {
  type AdapterChanges,
  type Candidate,
  compareMerged,
  gainKept,
  isKept,
  isSteered,
  type Measurements,
  type MergeMethod,
  MIN_GAIN_KEPT,
  nearestLoss,
} from "../lora/merge/mod.ts";
import type { Runner } from "../runtime/runner.ts";
import { mean } from "../statistics.ts";
import { openMapped } from "../system/mapped_file.ts";
import { gramSource } from "./collect_gram.ts";
import { loadOnnx } from "./load_onnx.ts";
import { measureWritten } from "./measure_merge.ts";
import type { MergeProgress, MergeStage } from "./merge_progress.ts";
import type { MergeRequest } from "./merge_request.ts";
import { StagedDirectory } from "./staged_directory.ts";
import { type RefusedMerge, writeMerged, type WrittenMerge } from "./write_merged.ts";
import { writeTuned } from "./write_tuned.ts";

/**
 * Rounding error of a matrix, of ‖ΔW‖, from which on rounding to nearest keeps little of any gain, and
 * the one of a sample from which on it is not even tried.
 */
const LOST = { written: 0.5, sampled: 0.75 };
/**
 * What of a change's outputs scales may miss, relative, so that tuning starts from there. Scales that
 * missed 0.36 kept 91% of a gain, and 102% when tuned for twelve steps; where they missed 0.53, of a
 * change four times as trained, they kept 86% and 87%.
 */
const MOST_MISSED = 0.45;
/** Rounds of tuning from one start. */
const ROUNDS = 3;
/** Share of the gain that another round of tuning may be expected to bring. */
const WITHIN_REACH = 0.05;
/**
 * Tokens whose activations scales are fitted by: with four times as many a merge kept 91.3% of the
 * gain before tuning instead of 90.7%, and collecting took four times as long.
 */
const FIT_TOKENS = 1024;

/** What of the models that a merge is compared with is known. */
export type References = Pick<Measurements, "base" | "adapter">;

/** Ways of merging as they are tried; what is not taken is removed in the end. */
export class Ways implements Disposable {
  readonly candidates: Candidate[] = [];
  readonly #written = new Map<MergeMethod, WrittenMerge>();
  readonly #folders = new DisposableStack();
  readonly #failures = new Map<MergeMethod, Error>();
  /** What cannot keep enough is measured only where there is nothing else. */
  #hopeless: WrittenMerge | undefined;

  constructor(
    readonly runner: Runner,
    readonly request: MergeRequest,
    readonly changes: AdapterChanges,
    /** The base with its adapters, where there is data. */
    readonly adapted: Model | undefined,
    readonly references: References,
    readonly progress: MergeProgress,
  ) {}

  /** What was written of a candidate. */
  written({ method }: Candidate): WrittenMerge {
    return this.#written.get(method)!;
  }

  /**
   * Tries ways in their order, until one keeps enough or the time is up.
   *
   * @throws {RefusedError} where none changes anything
   * @throws {RuntimeFailure} where the runtime could not run what the only way makes
   */
  async tryAll(methods: readonly MergeMethod[]): Promise<void> {
    const { request: { onNote, timeBudget = Infinity }, progress } = this;
    /** Of the sample; not worth looking at where there is nothing to choose from. */
    const lost = methods.includes("tuned") ? await this.#sample() : 0;
    for (const method of methods) {
      if (this.candidates.some((candidate) => this.#isKept(candidate))) break;
      if (this.candidates.length > 0 && progress.elapsed > timeBudget) {
        onNote?.(`"${method}" is not tried: the time budget of ${timeBudget} s has ended`);
        continue;
      }
      if (method === "tuned") {
        await this.#tune(lost, methods.includes("compensated"));
      } else if (method === "nearest" && methods.length > 1 && lost > LOST.sampled) {
        onNote?.('"nearest" is not tried: rounding loses most of what changes');
      } else {
        await this.#take(await this.#write(method), methods.length === 1);
      }
      const rounded = this.#written.get("compensated");
      const goesOn = rounded !== undefined && method === "compensated" &&
        methods.includes("tuned") && !this.candidates.some((found) => this.#isKept(found));
      if (goesOn) await this.#tuneFrom(rounded);
    }
    if (this.#hopeless !== undefined) {
      if (this.candidates.length === 0) await this.#measure(this.#hopeless);
      else {onNote?.(
          `"${this.#hopeless.method}" is not measured: rounding loses most of what changes`,
        );}
    }
    // What went wrong is said once: as the error where nothing is left, else as notes.
    const failures = [...this.#failures];
    const refused = failures.map(([, error]) => error)
      .findLast((error) => error instanceof RefusedError);
    if (this.candidates.length === 0) throw refused!; // 8 bits, which may not run, are never alone
    for (const [way, { message }] of failures) onNote?.(`"${way}" is left out: ${message}`);
  }

  [Symbol.dispose](): void {
    this.#folders[Symbol.dispose]();
  }

  #isKept(candidate: Candidate): boolean {
    return isKept(this.references, candidate, this.request.minGainKept ?? MIN_GAIN_KEPT);
  }

  /** How much of the change rounding to nearest takes, of some of its rows. */
  async #sample(): Promise<number> {
    return await nearestLoss(this.request.base.model, this.changes.changes) ?? 0;
  }

  /** Keeps what was written until the end. */
  #keep(written: WrittenMerge): void {
    this.#folders.use(written.directory);
    this.#written.set(written.method, written);
  }

  async #measure(written: WrittenMerge): Promise<void> {
    const { runner, request, progress } = this;
    this.candidates.push(await measureWritten(runner, request, written, progress));
  }

  /** Measures what was written, unless that is without hope. */
  async #take(written: WrittenMerge | RefusedMerge, only: boolean): Promise<void> {
    if (!("directory" in written)) {
      this.#failures.set(written.method, written.refused);
      return;
    }
    this.#keep(written);
    if (!only && this.request.data !== undefined && losesMost(written)) {
      this.#hopeless = written;
      return;
    }
    try {
      await this.#measure(written);
    } catch (error) {
      // Not every build of ONNX Runtime has a kernel for 8 bits.
      const other = error instanceof RuntimeFailure && written.method === "8bit" && !only;
      if (!other) throw error;
      this.#failures.set(written.method, error);
    }
  }

  /** Writes one candidate; those that change nothing are refused. */
  async #write(method: Exclude<MergeMethod, "tuned">): Promise<WrittenMerge | RefusedMerge> {
    const { runner, request, changes, adapted, progress } = this;
    const { data, savePath, signal } = request;
    return await progress.run(method, async (tell) => {
      const how = { ...request, runner, changes, methods: [method], onProgress: tell };
      if (data === undefined || adapted === undefined || !isSteered(method)) {
        return (await writeMerged(how))[0];
      }
      // Never committed: goes with the rewrite.
      using room = new StagedDirectory(savePath, "activations");
      const { maxTokens = Infinity } = data.train;
      const tokens = method === "fitted" ? Math.min(FIT_TOKENS, maxTokens) : maxTokens;
      const source = gramSource(runner, adapted, { ...data.train, maxTokens: tokens }, {
        folder: room.path,
        onTokens: (done, atMost) => tell(`Collecting activations: ${done} of ${atMost} tokens`, 0),
        signal,
      });
      return (await writeMerged({ ...how, grams: source }))[0];
    });
  }

  /**
   * Tunes scales. What survives rounding to nearest is tuned from there, anything else from scales that
   * are fitted to it; where these miss too much of it, it is left to compensated rounding.
   *
   * @param lost what rounding to nearest takes
   * @param othersFollow whether compensated rounding is tried after it, and tuned then
   */
  async #tune(lost: number, othersFollow: boolean): Promise<void> {
    const rounded = lost <= LOST.written ? "nearest" : "fitted";
    const start = this.#written.get(rounded) ?? await this.#unmeasured(rounded);
    if (start === undefined) return;
    if (rounded === "fitted" && missedOf(start) > MOST_MISSED) {
      if (othersFollow) return;
      const compensated = await this.#unmeasured("compensated");
      if (compensated !== undefined) await this.#tuneFrom(compensated);
    } else await this.#tuneFrom(start);
  }

  /** What only tuning starts from. */
  async #unmeasured(method: Exclude<MergeMethod, "tuned">): Promise<WrittenMerge | undefined> {
    const written = await this.#write(method);
    if ("directory" in written) {
      this.#folders.use(written.directory);
      return written;
    }
    this.#failures.set("tuned", written.refused);
  }

  /** Tunes in rounds, until enough is kept or more would not bring it. */
  async #tuneFrom(start: WrittenMerge): Promise<void> {
    const { runner, request, changes, progress } = this;
    let from = start;
    let before = this.candidates.find(({ method }) => method === start.method);
    for (let round = 0; round < ROUNDS; round++) {
      const tuned = await writeTuned(runner, request, changes, from, round, progress);
      if (!("directory" in tuned)) {
        if (round === 0) this.#failures.set("tuned", tuned.refused);
        return;
      }
      this.#folders.use(tuned.directory);
      const found = await measureWritten(runner, request, await this.#compared(tuned), progress);
      const isBetter = before === undefined || lossOf(found) < lossOf(before);
      if (isBetter) this.#offerTuned(found, tuned);
      const isOver = progress.elapsed > (request.timeBudget ?? Infinity);
      if (!isBetter || isOver || !this.#isWithinReach(before, found)) return;
      [from, before] = [tuned, found];
      progress.expect("tuning", "scales", "comparing", "measuring");
    }
  }

  /** Whether another round of tuning may bring what is missing. */
  #isWithinReach(before: Candidate | undefined, found: Candidate): boolean {
    const { base, adapter } = this.references;
    if (this.#isKept(found) || base === undefined || adapter === undefined) return false;
    const [kept, keptBefore] = [found, before].map((candidate) =>
      candidate?.evaluated && gainKept(base, adapter, candidate.evaluated)
    );
    // An adapter that gains nothing is held to its loss, which every round lowers.
    if (kept === undefined) return true;
    const missing = (this.request.minGainKept ?? MIN_GAIN_KEPT) - kept;
    return missing < Math.max(WITHIN_REACH, kept - (keptBefore ?? kept));
  }

  /** Of tuned candidates the best is kept. */
  #offerTuned(found: Candidate, written: WrittenMerge): void {
    const old = this.candidates.findIndex(({ method }) => method === "tuned");
    if (old >= 0 && lossOf(this.candidates[old]) <= lossOf(found)) return;
    if (old >= 0) this.candidates.splice(old, 1);
    this.candidates.push(found);
    this.#written.set("tuned", written);
  }

  /** With reports of what tuning made of the matrices. */
  async #compared(tuned: WrittenMerge): Promise<WrittenMerge> {
    const { request: { base }, changes, progress } = this;
    return await progress.run("comparing", async (tell) => {
      tell("Comparing weights", 0);
      using after = loadOnnx(join(tuned.directory.path, basename(base.path)), openMapped);
      const matrices = await compareMerged(
        base.model,
        changes.changes,
        after.model,
        tuned.matrices,
      );
      return { ...tuned, matrices };
    });
  }
}

/** What of the change of outputs is missing, relative: the mean over matrices. */
const missedOf = ({ matrices }: WrittenMerge) =>
  mean(matrices.flatMap(({ outputError }) => outputError ?? []));

const lossOf = ({ evaluated }: Candidate) => evaluated?.loss ?? Infinity;

/** Stages that the first of some ways takes. */
export function stagesOf([method]: readonly MergeMethod[]): readonly MergeStage[] {
  return method === "tuned"
    ? ["fitted", "tuning", "scales", "comparing", "measuring"]
    : [method, "measuring"];
}

/** Whether plain rounding undoes most of the change; steered rounding errs more and keeps more. */
function losesMost({ method, matrices }: WrittenMerge): boolean {
  const changed = matrices.filter(({ deltaNorm }) => deltaNorm > 0);
  return method === "nearest" && changed.length > 0 &&
    mean(changed.map(({ requantisationError }) => requantisationError)) > LOST.written;
}
