/** Options of a plan. */
import type { Extent } from "../graph/size.ts";
import { type Arithmetic, arithmeticKey, IN_FLOATS } from "./arithmetic.ts";
import type { SegmentRange } from "./cut.ts";
import type { PassControl } from "./planning_pass.ts";
import type { Span } from "./span.ts";

/** A kind of run through a step's calls: for gradients, for the loss alone, or for logits. */
export type StepKind = "training" | "evaluation" | "logits";

export const STEP_KINDS: readonly StepKind[] = ["training", "evaluation", "logits"];

/** Settings that are the same for all batches of a run. */
export interface PlanSettings {
  /** Initializers with respect to which the loss is differentiated. */
  readonly trainable: ReadonlySet<string>;
  /** Bytes of activations that may be kept instead of recomputed; default 0. */
  readonly keepBytes?: number;
  /**
   * Whether only half of the activations between segments are kept, and the output of a segment without
   * attention is recomputed from its input; default: where sequences are longer than 2,048 tokens.
   */
  readonly thinStream?: boolean;
  /**
   * About how many packed rows a call computes at a time where tokens do not see each other; default all. Only
   * where tensors lie in memory.
   */
  readonly rowsAtOnce?: number;
  /** Vocabulary entries per chunk of a language model's head; default `HEAD_CHUNK`. */
  readonly headChunk?: number;
  /**
   * Whether a language model learns from a teacher instead of labels: for gradients, a head in chunks then
   * reads `EXPECTED_ROWS`; where it computes the loss alone, it leaves them as a result. Only in `exact`, and
   * where the head runs in chunks; default false.
   */
  readonly distils?: boolean;
  /** Probability of LoRA dropout; default 0. */
  readonly dropout?: number;
  /** How it computes; default {@linkcode IN_FLOATS}. */
  readonly arithmetic?: Arithmetic;
  /**
   * Which planning passes are left out (`planning_passes.ts`), and an observer of the results of the others.
   */
  readonly passControl?: PassControl;
  /** The segments that are computed here, the others being other stages'; default all. */
  readonly stage?: SegmentRange;
}

/**
 * All at once, which must run on one thread, since several threads lose what they add to the same row; or
 * sequence by sequence, none of which has a row twice.
 */
export type PrefixSums = "together" | "by sequence";

/** Choices of how batches are computed. */
export interface PlanChoices extends PlanSettings {
  /** Which runs are wanted; the schedules of the others are empty. Default: all. */
  readonly passes?: readonly StepKind[];
  /**
   * How a packed row that stands for the same position in several sequences sums their cotangents; absent
   * where each sequence has its own rows.
   */
  readonly prefixSums?: PrefixSums;
  /**
   * Whether values that calls compute from weights alone are computed by separate calls, once for several
   * parts of a batch; default false.
   */
  readonly sharesWeights?: boolean;
  /**
   * Whether each call runs on one thread, so that wide values are computed in tiles that fit its core's
   * cache; several threads each have a part anyway. Default false.
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
   * Target rows of a language-model loss, padding included; absent for classification, where every row of
   * logits is a target.
   */
  readonly targetRows?: Count;
  /**
   * Rows that hold the batch's real tokens and at least one padding token (`packTokens`); absent where
   * padding is computed like any token.
   */
  readonly packedRows?: Count;
  /** Tokens that all sequences begin with and that attention computes once; default 0. */
  readonly commonTokens?: Count;
  /**
   * The tokens that are computed of a single sequence: from one on to its end, each a packed row; the tokens
   * before belong to another plan. Absent: all.
   */
  readonly span?: Span<Count>;
}

/** What to plan for, with the sizes of one batch. */
export interface PlanOptions extends BatchSizes, PlanChoices {}

/** What to plan for at any batch: sizes may be symbols. */
export interface SizedOptions extends BatchSizes<Extent>, PlanChoices {}

/**
 * A key that is equal for options of one run that give the same plan; it covers what differs from batch to
 * batch.
 */
export function keyOf(options: PlanOptions): string {
  const { batch, length, packedRows, targetRows, commonTokens, span } = options;
  const sizes = [batch, length, packedRows, targetRows, commonTokens, span?.from];
  return [...sizes, kindOf(options)].join();
}

/** A key that is equal for options of one run that differ at most in sizes. */
export function kindOf(options: PlanOptions): string {
  const { passes, packedRows, targetRows, commonTokens, prefixSums, span } = options;
  const { arithmetic = IN_FLOATS, keepBytes, dropout, sharesWeights } = options;
  const { inTiles, thinStream, rowsAtOnce } = options;
  const given = [packedRows, targetRows, commonTokens].map((rows) => rows !== undefined);
  const settings = [keepBytes, dropout, sharesWeights, inTiles, thinStream, rowsAtOnce];
  return [passes, prefixSums, ...given, span?.continues, ...settings, arithmeticKey(arithmetic)]
    .join();
}
