/** The forward and the backward call of one segment. */
import { pullback } from "../autodiff/pullback.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { extentsOf } from "../graph/extents.ts";
import { isAtMost, plus, productOf, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { builderOver, callOf, type CallOptions, type PlannedCall, type Whole } from "./call.ts";
import type { Segment } from "./cut.ts";
import { emitStored, type Kept, type KeptForm, storedAs, storedBytes } from "./kept_form.ts";
import { keptValues, NOTHING_KEPT } from "./kept_values.ts";
import { cotangentName, gradientName } from "./names.ts";
import { isEarlier, isLater } from "./span.ts";

/** What the calls of one plan have in common. */
export interface PlanContext extends Whole {
  readonly trainable: ReadonlySet<string>;
  /** Values that depend on initializers alone. */
  readonly constants: ReadonlySet<string>;
  /** Which activations are kept in fewer bits for the backward calls. */
  readonly float16Activations: Float16Activations;
  /**
   * Whether nothing is kept but what runs between segments: in `exact`, all is computed again from what
   * the forward pass had.
   */
  readonly recomputesAlone?: boolean;
  /** Whether each call runs on one thread, which has a core's cache for itself. */
  readonly inTiles?: boolean;
  /** Whether the graph computes logits of every token, so that target rows are picked after it. */
  readonly pickRows: boolean;
}

/**
 * None; what runs between segments and what is as wide or wider, as an MLP's inside is: most of the
 * memory for little of the gradient (`scripts/figures/numeric.ts` prints how little); or all, for the
 * setting that computes in 8 bits: most of what is inside segments in 8 bits, the rest in float16.
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
 * Computes a segment's output, and the values its backward call wants kept.
 *
 * @param from the form in which the segment's input is there
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

/** What a segment leaves for the span after its own. */
function laterValues({ nodes }: Segment): readonly string[] {
  return nodes.flatMap(({ outputs }) => outputs.filter(isLater));
}

/** What a segment reads of the span before its own. */
function earlierValues({ nodes }: Segment): readonly string[] {
  return [...new Set(nodes.flatMap(({ inputs }) => inputs.filter(isEarlier)))];
}

/** How a segment's calls are written: where activations are kept in 8 bits, for these. */
function passesOver({ float16Activations, inTiles, passControl }: PlanContext): CallOptions {
  return {
    passControl,
    defersScales: float16Activations === "all",
    inTiles: inTiles && float16Activations === "all",
  };
}

/** The backward call of a segment and the activations it takes from the forward call. */
export interface Backward {
  readonly call: PlannedCall;
  readonly kept: Kept;
  /** Bytes of the kept activations; the segment's input, which is there anyhow, not counted. */
  readonly keptBytes: Extent;
}

/**
 * Computes the gradients of a segment's trainable tensors and, where something below trains too,
 * the cotangent of its input.
 *
 * @param keep false: recompute everything from the segment's input; true: take from the forward call
 *   what the derivatives read
 * @param again whether the input itself is computed again, and so is there as it was; default false
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
  const reduced = context.float16Activations === "all" ||
    context.float16Activations === "wide" && !context.recomputesAlone;
  if (input !== undefined && reduced && !options.again && b.known(input).dtype === "float32") {
    wanted.set(input, "float16");
  }
  const call = callOf(b, `backward from ${segment.output}`, outputs, {
    given: wanted,
    ...passesOver(context),
  });
  const read = new Set(call.feeds.values());
  const kept = new Map(
    [...wanted].filter(([value, form]) => read.has(storedAs(value, form, b.known(value))[0].name)),
  );
  const keptBytes = [...kept].reduce(
    (sum, [value, form]) =>
      value === input ? sum : plus(sum, storedBytes(value, form, b.known(value))),
    0 as Extent,
  );
  return { call, kept, keptBytes };
}

/**
 * The form in which an activation is kept.
 *
 * Among `all`, what has a row a token, as wide as what runs between segments or wider, goes into 8 bits
 * unnoticed; attention's probabilities do not: most are far smaller than their row's largest. Under
 * `wide` what attention reads stays whole, for the exponential of its scores magnifies what rounding
 * did to it.
 *
 * @param boundary shape of what runs between segments
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

/** Activations of which what runs between segments is more than so many times as much stay as they are. */
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
