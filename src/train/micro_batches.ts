/** Batches taken a few tokens at a time, for less memory. */
import { type PackingRules, rowsOf } from "../data/packing.ts";
import { type RowCut, together } from "../data/row_cuts.ts";
import { cutBatch } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import type {
  BatchLoss,
  Evaluation,
  Parameter,
  SeededBatch,
  StepModel,
  StepOptions,
} from "./step.ts";

/**
 * Computed tokens that run at once if a batch has more of them: beyond this number products get no quicker,
 * the fixed cost of a call is small, and memory would grow.
 */
export const TOKENS_AT_ONCE = 1024;

/** How much of a batch runs at once. */
export interface AtOnce {
  /** At least 1, counted as {@linkcode tokensEach} does. */
  readonly tokens: number;
  /** Into how many parts a batch is cut if it has as many sequences, even if fewer would do; default 1. */
  readonly leastParts?: number;
  /** How batches are packed; default: not at all. */
  readonly packing?: PackingRules;
}

/**
 * A model that cuts every batch into parts of at most so many tokens, or of one sequence. Losses and
 * gradients are sums over target tokens, so the parts' sums are the batch's.
 */
export class MicroBatches implements StepModel<TokenBatch> {
  /**
   * @param shards parts that the model computes at the same time: it is given as many sequences for each
   * @param cut which sequences run together
   */
  constructor(
    readonly model: StepModel<TokenBatch>,
    readonly atOnce: AtOnce,
    readonly shards = 1,
    readonly cut: RowCut = together,
  ) {
    const { accumulateAll } = model;
    if (accumulateAll === undefined) return;
    this.accumulateAll = (batches) =>
      accumulateAll.call(model, batches.flatMap((batch) => this.#seededParts(batch)));
  }

  /** Present if the model has it. */
  readonly accumulateAll?: StepModel<TokenBatch>["accumulateAll"];

  get parameters(): readonly Parameter[] {
    return this.model.parameters;
  }

  async accumulate(
    batch: TokenBatch,
    dropoutSeed: number,
    { upcoming, onGradient }: StepOptions<TokenBatch> = {},
  ): Promise<BatchLoss> {
    let [lossSum, targetCount] = [0, 0];
    const parts = this.#seededParts({ batch, dropoutSeed });
    const nextBatch = upcoming && (async () => this.#parts(await upcoming())[0]);
    for (const [i, part] of parts.entries()) {
      const options = i + 1 < parts.length
        ? { upcoming: () => Promise.resolve(parts[i + 1].batch) }
        : { upcoming: nextBatch, onGradient };
      const loss = await this.model.accumulate(part.batch, part.dropoutSeed, options);
      lossSum += loss.lossSum;
      targetCount += loss.targetCount;
    }
    return { lossSum, targetCount };
  }

  async evaluate(batch: TokenBatch): Promise<Evaluation> {
    let [lossSum, targetCount] = [0, 0];
    let correct: number | undefined = 0;
    for (const part of this.#parts(batch)) {
      const found = await this.model.evaluate(part);
      lossSum += found.lossSum;
      targetCount += found.targetCount;
      correct = found.correct === undefined || correct === undefined
        ? undefined
        : correct + found.correct;
    }
    return correct === undefined ? { lossSum, targetCount } : { lossSum, targetCount, correct };
  }

  widen(): boolean {
    return this.model.widen?.() ?? false;
  }

  fillGrad(): void {
    this.model.fillGrad?.();
  }

  zeroGrad(): void {
    this.model.zeroGrad();
  }

  [Symbol.dispose](): void {
    this.model[Symbol.dispose]();
  }

  #seededParts({ batch, dropoutSeed }: SeededBatch<TokenBatch>): SeededBatch<TokenBatch>[] {
    return this.#parts(batch).map((part, i) => ({
      batch: part,
      dropoutSeed: (dropoutSeed + i) >>> 0,
    }));
  }

  #parts(batch: TokenBatch): TokenBatch[] {
    return this.cut(batch).flatMap((part) => this.#cutByTokens(part));
  }

  #cutByTokens(batch: TokenBatch): TokenBatch[] {
    const [sequences] = batch.inputIds.dims;
    const { tokens, packing, leastParts = 1 } = this.atOnce;
    const limit = Math.ceil(sequences / leastParts);
    const most = sequencesAtOnce(tokens, tokensEach(batch, packing), limit);
    if (sequences <= most) return [batch];
    return cutBatch(batch, partSize(sequences, most, this.shards));
  }
}

/**
 * Number of sequences of `each` tokens that run at once: at least 1, as many as `limit` (default: unlimited)
 * if `each` is 0.
 */
export function sequencesAtOnce(tokens: number, each: number, limit = Infinity): number {
  return Math.max(1, Math.min(limit, Math.floor(tokens / each)));
}

/** What attention takes for a position of a short sequence, relative to what all layers take for a token. */
const PLACE_TAKES = 0.5;
/** Positions of a sequence at which each position's scores take as much as a token; blocks have fewer. */
const PLACES_LIKE_TOKENS = 128;

/**
 * The least that a position takes, in tokens, even one of padding that is left out of everything but
 * attention; no more than a computed token.
 */
export function positionCost(length: number, { packs, isCausal }: PackingRules): number {
  if (!packs) return 1;
  return isCausal ? PLACE_TAKES : Math.min(1, Math.max(PLACE_TAKES, length / PLACES_LIKE_TOKENS));
}

/**
 * Tokens of each sequence that are computed, on average: padding counts unless it is left out, a shared
 * prefix does not. At least what its positions take ({@linkcode positionCost}).
 */
export function tokensEach(batch: TokenBatch, packing: PackingRules = NOT_PACKED): number {
  const [sequences, length] = batch.inputIds.dims;
  const { positions, common } = rowsOf(batch, packing);
  const each = length - common;
  if (!packing.packs) return each;
  const tokens = positions.length - common;
  const least = positionCost(each, packing) * each;
  return Math.max(1, Math.ceil(tokens / sequences), Math.ceil(least));
}

const NOT_PACKED: PackingRules = { packs: false, sharesPrefixes: false, isCausal: false };

/**
 * Sequences of each part of a batch of which at most `most` run at once: parts of about the same size, so
 * that few shapes are planned and none is left with little to do.
 *
 * @param shards into how many each part divides, if the batch is cut and has as many
 */
export function partSize(sequences: number, most: number, shards = 1): number {
  if (sequences <= most) return sequences;
  const limit = most < shards ? most : most - most % shards;
  const size = Math.ceil(sequences / Math.ceil(sequences / limit));
  return limit < shards ? size : Math.min(limit, Math.ceil(size / shards) * shards);
}
