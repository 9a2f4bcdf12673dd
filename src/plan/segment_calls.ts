/** The forward and the backward call of one segment. */
import { pullback } from "../autodiff/pullback.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { extentsOf } from "../graph/extents.ts";
import { isAtMost, productOf, sumOf, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { builderOver, callOf, type CallOptions, type PlannedCall, type Whole } from "./call.ts";
import type { Segment } from "./cut.ts";
import { emitStored, type Kept, type KeptForm, storedAs, storedBytes } from "./kept_form.ts";
import { keptValues, NOTHING_KEPT } from "./kept_values.ts";
import { cotangentName, gradientName } from "./names.ts";
import { isEarlier, isLater } from "./span.ts";

/** What the calls of one plan share. */
export interface PlanContext extends Whole {
  readonly trainable: ReadonlySet<string>;
  /** Values that depend only on initializers. */
  readonly constants: ReadonlySet<string>;
  /** Which activations are kept in fewer bits for the backward calls. */
  readonly float16Activations: Float16Activations;
  /**
   * Whether only the activations between segments are kept; in `exact`, everything else is then recomputed
   * from the values that the forward pass had.
   */
  readonly recomputesAlone?: boolean;
  /** Whether each call runs on one thread, with a core's cache to itself. */
  readonly inTiles?: boolean;
  /** Whether the graph computes logits of every token, so that the target rows are picked from its output. */
  readonly pickRows: boolean;
}

/**
 * None; the activations between segments and those as wide or wider, such as the inside of an MLP: most of
 * the memory for little error in the gradient (`scripts/figures/numeric.ts` prints how little); or all, for
 * the setting that computes in 8 bits: most activations inside segments in 8 bits, the rest in float16.
 */
export type Float16Activations = "none" | "wide" | "all";

/** Trainable tensors that a segment reads. */
export function trainablesOf(context: PlanContext, segment: Segment): string[] {
  const { copyOf } = segment;
  if (copyOf !== undefined) return trainablesOf(context, copyOf.segment).map(copyOf.rename);
  const read = new Set(segment.nodes.flatMap((node) => node.inputs));
  return [...context.trainable].filter((name) => read.has(name));
}

/**
 * Computes a segment's output and the values that its backward call needs kept.
 *
 * @param from the form of the segment's input
 */
export function forwardCall(
  context: PlanContext,
  segment: Segment,
  kept: Kept = new Map(),
  from: KeptForm = "unchanged",
): PlannedCall {
  const b = builderOver(context, segment.nodes);
  const outputs = new Map([[segment.output, segment.output]]);
  for (const value of laterValues(segment)) outputs.set(value, value);
  for (const [value, form] of kept) {
    for (const [stored, name] of emitStored(b, value, form)) outputs.set(stored, name);
  }
  const { input } = segment;
  return callOf(b, `forward to ${segment.output}`, outputs, {
    given: new Map(input !== undefined && from !== "unchanged" ? [[input, from]] : []),
    ...passesOver(context),
  });
}

/** Values that a segment leaves for the next span. */
function laterValues({ nodes }: Segment): readonly string[] {
  return nodes.flatMap(({ outputs }) => outputs.filter(isLater));
}

/** Values that a segment reads from the previous span. */
function earlierValues({ nodes }: Segment): readonly string[] {
  return [...new Set(nodes.flatMap(({ inputs }) => inputs.filter(isEarlier)))];
}

/** Options of a segment's calls, suited to 8-bit activations where these are kept. */
function passesOver({ float16Activations, inTiles, passControl }: PlanContext): CallOptions {
  return {
    passControl,
    defersScales: float16Activations === "all",
    inTiles: inTiles && float16Activations === "all",
  };
}

/** The backward call of a segment, and the activations that it takes from the forward call. */
export interface Backward {
  readonly call: PlannedCall;
  readonly kept: Kept;
  /** Bytes of the kept activations, without the segment's input and {@linkcode earlierBytes}. */
  readonly keptBytes: Extent;
  /** Bytes of the keys and values of earlier tokens that are kept, which exist in any case. */
  readonly earlierBytes: Extent;
}

/**
 * Computes the gradients of a segment's trainable tensors and, where something below is trained too, the
 * cotangent of its input.
 *
 * @param keep false: recompute everything from the segment's input; true: take from the forward call what the
 *   derivatives read
 * @param again whether the input itself is recomputed, and so has its original precision; default false
 */
export function backwardCall(
  context: PlanContext,
  segment: Segment,
  options: { readonly wantInput: boolean; readonly keep: boolean; readonly again?: boolean },
): Backward {
  const b = builderOver(context, segment.nodes);
  const forwardNodes = b.nodes.length;
  const { dtype, dims } = b.known(segment.output);
  const seeds = new Map([[segment.output, b.input(cotangentName(segment.output), dtype, dims)]]);
  for (const value of laterValues(segment)) {
    const { dtype, dims } = b.known(value);
    seeds.set(value, b.input(cotangentName(value), dtype, dims));
  }
  const outputs = gradients(b, context, segment, seeds, options.wantInput);
  const values = options.keep
    ? keptValues(context, segment, b.nodes.slice(forwardNodes))
    : NOTHING_KEPT;
  const wanted = new Map(
    [...values.kept].map((value) => [
      value,
      keptForm(context.float16Activations, b.known(value), dims, values.attended.has(value)),
    ]),
  );
  const { input } = segment;
  const earlier = earlierValues(segment);
  const reduced = context.float16Activations === "all" ||
    context.float16Activations === "wide" && !context.recomputesAlone;
  const passed = input === undefined || options.again ? earlier : [input, ...earlier];
  for (const value of reduced ? passed : []) {
    if (b.known(value).dtype === "float32") wanted.set(value, "float16");
  }
  const call = callOf(b, `backward from ${segment.output}`, outputs, {
    given: wanted,
    ...passesOver(context),
  });
  const read = new Set(call.feeds.values());
  const kept = new Map(
    [...wanted].filter(([value, form]) => read.has(storedAs(value, form, b.known(value))[0].name)),
  );
  const bytesOf = (isCounted: (value: string) => boolean) =>
    sumOf(
      [...kept].filter(([value]) => isCounted(value))
        .map(([value, form]) => storedBytes(value, form, b.known(value))),
    );
  const isOfEarlier = (value: string) => earlier.includes(value);
  const keptBytes = bytesOf((value) => value !== input && !isOfEarlier(value));
  return { call, kept, keptBytes, earlierBytes: bytesOf(isOfEarlier) };
}

/**
 * The form in which an activation is kept.
 *
 * With `all`, activations with one row per token, at least as wide as those between segments, are kept in 8
 * bits without noticeable effect; attention's probabilities are not, since most are far smaller than the
 * largest of their row. With `wide`, what attention reads is not reduced, because the exponential of its
 * scores magnifies rounding errors. Keys and values of earlier spans are reduced like a segment's input,
 * from whose float16 form the span's own are recomputed.
 *
 * @param boundary shape of the activations between segments
 * @param attended whether attention reads it
 */
function keptForm(
  kept: Float16Activations,
  { dtype, dims }: Known,
  boundary: readonly number[],
  attended: boolean,
): KeptForm {
  if (dtype !== "float32" || dims.length < 2 || kept === "none") return "unchanged";
  const [shape, between] = [extentsOf(dims), extentsOf(boundary)];
  const isAsWide = isAtMost(between.at(-1)!, shape.at(-1)!);
  if (kept === "wide") return isAsWide && !attended ? "float16" : "unchanged";
  if (!isAtMost(productOf(between), times(NARROW, productOf(shape)))) return "unchanged";
  return isAsWide && isAtMost(rowsOf(shape), rowsOf(between)) ? "int8" : "float16";
}

/** Activations smaller than those between segments by more than this factor stay unchanged. */
const NARROW = 8;

const rowsOf = (shape: readonly Extent[]) => productOf(shape.slice(0, -1));

/**
 * Emits gradients, added to those of earlier micro-batches, and the input's cotangent.
 *
 * @returns value in the builder → name in the step
 */
export function gradients(
  b: GraphBuilder,
  context: PlanContext,
  segment: Segment,
  seeds: ReadonlyMap<string, string>,
  wantInput: boolean,
): Map<string, string> {
  const parameters = trainablesOf(context, segment);
  const earlier = earlierValues(segment);
  const wrt = new Set([...parameters, ...earlier]);
  if (wantInput && segment.input !== undefined) wrt.add(segment.input);
  const found = pullback(b, segment.nodes, seeds, wrt);
  const outputs = new Map<string, string>();
  for (const name of parameters) {
    const gradient = found.get(name);
    if (gradient === undefined) continue;
    const { dtype, dims } = b.known(name);
    const sum = b.op("Add", [b.input(gradientName(name), dtype, dims), gradient]);
    outputs.set(sum, gradientName(name));
  }
  for (const name of earlier) {
    const cotangent = found.get(name);
    if (cotangent !== undefined) outputs.set(cotangent, cotangentName(name));
  }
  if (wantInput && segment.input !== undefined) {
    const cotangent = found.get(segment.input);
    if (cotangent === undefined) {
      throw new ReferenceError(`No gradient reaches "${segment.input}"`);
    }
    outputs.set(cotangent, cotangentName(segment.input));
  }
  return outputs;
}
