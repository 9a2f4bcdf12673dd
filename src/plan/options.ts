/** What a step is planned for. */
import type { Extent } from "../graph/size.ts";
import { type Arithmetic, arithmeticKey, IN_FLOATS } from "./arithmetic.ts";
import type { PassControl } from "./planning_pass.ts";
import type { Span } from "./span.ts";

/** A way through a step's calls: to gradients, to the loss alone, or to logits. */
export type Pass = "training" | "evaluation" | "logits";

export const ALL_PASSES: readonly Pass[] = ["training", "evaluation", "logits"];

/** What is the same for all batches of a run. */
export interface PlanSettings {
  /** Initializers to differentiate by. */
  readonly trainable: ReadonlySet<string>;
  /** Bytes of activations that may be kept instead of recomputed; default 0. */
  readonly keepBytes?: number;
  /**
   * Whether of what runs between segments only half is kept, and what comes of a segment without attention
   * is computed again from what enters it; default: where sequences are longer than 2,048 tokens.
   */
  readonly thinStream?: boolean;
  /** Vocabulary entries per chunk of a language model's head; default `HEAD_CHUNK`. */
  readonly headChunk?: number;
  /**
   * Whether a language model learns from a teacher instead of labels: a head in chunks then reads
   * `EXPECTED_ROWS` for gradients, and leaves them where it computes the loss alone. In `exact`, and
   * where the head runs in chunks; default false.
   */
  readonly distils?: boolean;
  /** Probability of LoRA dropout; default 0. */
  readonly dropout?: number;
  /** How it computes; default {@linkcode IN_FLOATS}. */
  readonly arithmetic?: Arithmetic;
  /** Which passes of planning are left out (`planning_passes.ts`), and who looks at what they make. */
  readonly passControl?: PassControl;
}

/**
 * In one go, which must run on one thread: several lose what they add to one row at a time. Or sequence
 * after sequence, none of which has a row twice.
 */
export type PrefixSums = "together" | "by sequence";

/** What is chosen of how batches are computed. */
export interface PlanChoices extends PlanSettings {
  /** What is wanted; the schedules of other passes are empty. Default: all. */
  readonly passes?: readonly Pass[];
  /**
   * How a packed row that stands for the same place of several sequences sums their cotangents; absent:
   * each has rows of its own.
   */
  readonly prefixSums?: PrefixSums;
  /**
   * Whether what calls make of weights alone is made by calls of its own, for several parts of a batch
   * at once; default false.
   */
  readonly sharesWeights?: boolean;
  /**
   * Whether each call runs on one thread, so that what is wide is computed in tiles that its core's cache
   * holds; where several threads divide it, each has a part anyway. Default false.
   */
  readonly inTiles?: boolean;
  /** The output that the loss reads; default `logits`. */
  readonly output?: string;
}

/** Sizes of one batch. */
export interface BatchSizes<Count extends Extent = number> {
  /** Sequences per batch. */
  readonly batch: Count;
  /** Tokens per sequence, padding included. */
  readonly length: Count;
  /**
   * Target rows of a language-model loss, padding included; absent for classification, whose every
   * row of logits is one.
   */
  readonly targetRows?: Count;
  /**
   * Rows that hold the batch's real tokens and at least one of its padding (`packTokens`); absent:
   * padding is computed like any token.
   */
  readonly packedRows?: Count;
  /** Tokens that all sequences begin with and that attention computes once; default 0. */
  readonly commonTokens?: Count;
  /**
   * The tokens of a single sequence that are computed: from one on to its end, each a packed row; what
   * comes before them is another plan's. Absent: all.
   */
  readonly span?: Span<Count>;
}

/** What to plan for. */
export interface PlanOptions extends BatchSizes, PlanChoices {}

/** What to plan for, whatever the batch: its sizes may be symbols. */
export interface SizedOptions extends BatchSizes<Extent>, PlanChoices {}

/** Equal for options of one run that give the same plan: what differs from batch to batch. */
export function keyOf(options: PlanOptions): string {
  const { batch, length, packedRows, targetRows, commonTokens, span } = options;
  const sizes = [batch, length, packedRows, targetRows, commonTokens, span?.from];
  return [...sizes, kindOf(options)].join();
}

/** Equal for options of one run that differ in sizes at most. */
export function kindOf(options: PlanOptions): string {
  const { passes, packedRows, targetRows, commonTokens, prefixSums, span } = options;
  const { arithmetic = IN_FLOATS, keepBytes, dropout, sharesWeights, inTiles, thinStream } =
    options;
  const given = [packedRows, targetRows, commonTokens].map((rows) => rows !== undefined);
  const settings = [keepBytes, dropout, sharesWeights, inTiles, thinStream];
  return [passes, prefixSums, ...given, span?.continues, ...settings, arithmeticKey(arithmetic)]
    .join();
}
