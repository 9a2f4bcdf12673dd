/** Tries ways of merging one after another until one keeps enough of the adapters' gain. */
import { asFirst } from "./merge_peers.ts";
import { RefusedError, RuntimeFailure } from "../errors.ts";
import { isSteered, type MergeMethod, nearestLoss } from "../lora/merge/mod.ts";
import { mean } from "../statistics.ts";
import { gramSource } from "./collect_gram.ts";
import type { MergeCandidates, MergeContext } from "./merge_candidates.ts";
import type { MergeStage } from "./merge_progress.ts";
import { StagedDirectory } from "./staged_directory.ts";
import { tuneRounds } from "./tune_rounds.ts";
import { type RefusedMerge, writeMerged, type WrittenMerge } from "./write_merged.ts";

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
/**
 * Tokens whose activations scales are fitted by: with four times as many a merge kept 91.3% of the
 * gain before tuning instead of 90.7%, and collecting took four times as long.
 */
const FIT_TOKENS = 1024;

/** Stages that a way takes. */
export function stagesOf(method: MergeMethod): readonly MergeStage[] {
  return method === "tuned"
    ? ["fitted", "tuning", "scales", "comparing", "measuring"]
    : [method, "measuring"];
}

/**
 * Tries ways in their order, until one keeps enough or the time is up.
 *
 * @param candidates takes what was found
 * @throws {RefusedError} where none changes anything
 * @throws {RuntimeFailure} where the runtime could not run what the only way makes
 */
export async function tryWays(
  context: MergeContext,
  methods: readonly MergeMethod[],
  candidates: MergeCandidates,
): Promise<void> {
  const { request: { base, onNote, timeBudget = Infinity, peers }, changes, progress } = context;
  const attempt = new Attempt(context, candidates, methods);
  // Not worth looking at where there is nothing to choose from.
  const lost = methods.includes("tuned") ? await nearestLoss(base.model, changes.changes) ?? 0 : 0;
  for (const [i, method] of methods.entries()) {
    if (candidates.areEnough) break;
    if (i > 0) progress.expect(...stagesOf(method));
    const hasOne = candidates.all.length > 0;
    if (hasOne && await asFirst(peers, progress.elapsed > timeBudget)) {
      progress.cancel(...stagesOf(method));
      onNote?.(`"${method}" is not tried: the time budget of ${timeBudget} s has ended`);
    } else if (method === "tuned") {
      await attempt.tune(lost);
    } else if (method === "nearest" && methods.length > 1 && lost > LOST.sampled) {
      progress.cancel(...stagesOf(method));
      onNote?.('"nearest" is not tried: rounding loses most of what changes');
    } else {
      await attempt.round(method);
    }
  }
  await attempt.end();
}

/** One search through some ways. */
class Attempt {
  readonly #context: MergeContext;
  readonly #candidates: MergeCandidates;
  readonly #methods: readonly MergeMethod[];
  readonly #failures = new Map<MergeMethod, Error>();
  /** What cannot keep enough is measured only where there is nothing else. */
  #hopeless: WrittenMerge | undefined;

  constructor(
    context: MergeContext,
    candidates: MergeCandidates,
    methods: readonly MergeMethod[],
  ) {
    this.#context = context;
    this.#candidates = candidates;
    this.#methods = methods;
  }

  /** Writes a way of rounding and measures it, unless that is without hope; tunes it where that helps. */
  async round(method: Exclude<MergeMethod, "tuned">): Promise<void> {
    const written = await this.#write(method);
    if (!("directory" in written)) return void this.#failures.set(method, written.refused);
    const candidates = this.#candidates;
    candidates.add(written);
    const isOnly = this.#methods.length === 1;
    if (!isOnly && this.#context.request.data !== undefined && losesMost(written)) {
      this.#hopeless = written;
      this.#context.progress.cancel("measuring");
      return;
    }
    try {
      await candidates.measure(written);
    } catch (error) {
      // Not every build of ONNX Runtime has a kernel for 8 bits.
      const isOther = error instanceof RuntimeFailure && method === "8bit" && !isOnly;
      if (!isOther) throw error;
      this.#failures.set(method, error);
    }
    const isTuned = method === "compensated" && this.#methods.includes("tuned");
    if (isTuned && !candidates.areEnough) await this.#tuneFrom(written);
  }

  /**
   * Tunes scales. What survives rounding to nearest is tuned from there, anything else from scales that
   * are fitted to it; where these miss too much of it, compensated rounding is tuned.
   *
   * @param lost what rounding to nearest takes
   */
  async tune(lost: number): Promise<void> {
    const rounded = lost <= LOST.written ? "nearest" : "fitted";
    const start = this.#candidates.written(rounded) ?? await this.#unmeasured(rounded);
    if (start === undefined) return;
    if (rounded === "nearest" || !(missedOf(start) > MOST_MISSED)) {
      await this.#tuneFrom(start);
    } else if (!this.#methods.includes("compensated")) {
      const compensated = await this.#unmeasured("compensated");
      if (compensated !== undefined) await this.#tuneFrom(compensated);
    }
  }

  /**
   * Tells what was left out and why.
   *
   * @throws {RefusedError} where nothing was found
   */
  async end(): Promise<void> {
    const { onNote } = this.#context.request;
    if (this.#hopeless !== undefined) {
      const { method } = this.#hopeless;
      if (this.#candidates.all.length === 0) await this.#candidates.measure(this.#hopeless);
      else onNote?.(`"${method}" is not measured: rounding loses most of what changes`);
    }
    // What went wrong is said once: as the error where nothing is left, else as notes.
    const refused = [...this.#failures.values()].findLast((error) => error instanceof RefusedError);
    if (this.#candidates.all.length === 0) throw refused!; // 8 bits, which may not run, are never alone
    for (const [way, { message }] of this.#failures) onNote?.(`"${way}" is left out: ${message}`);
  }

  async #tuneFrom(start: WrittenMerge): Promise<void> {
    const refused = await tuneRounds(this.#context, this.#candidates, start);
    if (refused !== undefined) this.#failures.set("tuned", refused);
  }

  /** What only tuning starts from. */
  async #unmeasured(method: Exclude<MergeMethod, "tuned">): Promise<WrittenMerge | undefined> {
    const written = await this.#write(method);
    if ("directory" in written) return this.#candidates.keep(written);
    this.#failures.set("tuned", written.refused);
  }

  /** Writes one candidate; those that change nothing are refused. */
  async #write(method: Exclude<MergeMethod, "tuned">): Promise<WrittenMerge | RefusedMerge> {
    const { runner, request, changes, adapted, progress } = this.#context;
    const { data, savePath, signal } = request;
    return await progress.run(method, async (tell) => {
      const how = { ...request, runner, changes, method, onProgress: tell };
      if (data === undefined || adapted === undefined || !isSteered(method)) {
        return await writeMerged(how);
      }
      // Never committed: goes with the rewrite.
      using room = new StagedDirectory(savePath, "activations");
      const { maxTokens = Infinity } = data.train;
      const tokens = method === "fitted" ? Math.min(FIT_TOKENS, maxTokens) : maxTokens;
      const grams = gramSource(runner, adapted, { ...data.train, maxTokens: tokens }, {
        folder: room.path,
        onTokens: (done, atMost) => tell(`Collecting activations: ${done} of ${atMost} tokens`, 0),
        signal,
      });
      return await writeMerged({ ...how, grams });
    });
  }
}

/** What of the change of outputs is missing, relative: the mean over matrices. */
const missedOf = ({ matrices }: WrittenMerge) =>
  mean(matrices.flatMap(({ outputError }) => outputError ?? []));

/** Whether plain rounding undoes most of the change; steered rounding errs more and keeps more. */
function losesMost({ method, matrices }: WrittenMerge): boolean {
  const changed = matrices.filter(({ deltaNorm }) => deltaNorm > 0);
  return method === "nearest" && changed.length > 0 &&
    mean(changed.map(({ requantisationError }) => requantisationError)) > LOST.written;
}
