/** The forward and the backward call of one segment. */
import { pullback } from "../autodiff/pullback.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { dimsIn, producersOf } from "../graph/facts.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { builderOver, callOf, type PlannedCall } from "./call.ts";
import type { Segment } from "./cut.ts";
import { emitStored, type Kept, type KeptForm, storedAs, storedBytes } from "./kept_form.ts";
import { cotangentName, gradientName, PACKED_PLACES, PACKED_ROWS } from "./names.ts";

/** What the calls of one plan have in common. */
export interface PlanContext {
  readonly lowered: Graph;
  /** Initializers that are fed rather than embedded; the trainable ones included. */
  readonly fed: ReadonlySet<string>;
  readonly trainable: ReadonlySet<string>;
  /** Values that depend on initializers alone. */
  readonly constants: ReadonlySet<string>;
  /** Which activations are kept in fewer bits for the backward calls. */
  readonly halves: Halves;
  /** Whether the graph computes logits of every token, so that target rows are picked after it. */
  readonly pickRows: boolean;
}

/**
 * None; what runs between segments and what is wider, as an MLP's inside is: most of the memory for
 * little of the gradient (`scripts/figures/numeric.ts` prints how little); or all, for the setting
 * that computes in 8 bits: most of what is inside segments in 8 bits, the rest in float16.
 */
export type Halves = "none" | "wide" | "all";

/** Trainable tensors that a segment reads. */
export function trainablesOf(context: PlanContext, segment: Segment): string[] {
  const read = new Set(segment.nodes.flatMap((node) => node.inputs));
  return [...context.trainable].filter((name) => read.has(name));
}

/** Computes a segment's output, and the values its backward call wants kept. */
export function forwardCall(
  context: PlanContext,
  segment: Segment,
  kept: Kept = new Map(),
): PlannedCall {
  const b = builderOver(context.lowered, segment.nodes, context.fed);
  const outputs = new Map([[segment.output, segment.output]]);
  for (const [value, form] of kept) {
    for (const [stored, name] of emitStored(b, value, form)) outputs.set(stored, name);
  }
  return callOf(b, `forward to ${segment.output}`, outputs);
}

/** The backward call of a segment and the activations it takes from the forward call. */
export interface Backward {
  readonly call: PlannedCall;
  readonly kept: Kept;
  /** Bytes of the kept activations; the segment's input, which is there anyhow, not counted. */
  readonly keptBytes: number;
}

/**
 * Computes the gradients of a segment's trainable tensors and, where something below trains too,
 * the cotangent of its input.
 *
 * @param keep false: recompute everything from the segment's input; true: take from the forward call
 *   what the derivatives read
 */
export function backwardCall(
  context: PlanContext,
  segment: Segment,
  options: { readonly wantInput: boolean; readonly keep: boolean },
): Backward {
  const b = builderOver(context.lowered, segment.nodes, context.fed);
  const forwardNodes = b.nodes.length;
  const { dtype, dims } = b.known(segment.output);
  const seed = b.input(cotangentName(segment.output), dtype, dims);
  const outputs = gradients(
    b,
    context,
    segment,
    new Map([[segment.output, seed]]),
    options.wantInput,
  );
  const values = options.keep
    ? keptValues(context, segment, b.nodes.slice(forwardNodes))
    : new Set<string>();
  const wanted = new Map(
    [...values].map((value) => [value, keptForm(context.halves, b.known(value), dims)]),
  );
  const { input } = segment;
  // Where all is computed again in `exact`, it is computed from what the forward pass had.
  const halved = context.halves === "all" || context.halves === "wide" && options.keep;
  if (input !== undefined && halved && b.known(input).dtype === "float32") {
    wanted.set(input, "half");
  }
  const call = callOf(b, `backward from ${segment.output}`, outputs, wanted);
  const read = new Set(call.feeds.values());
  const kept = new Map(
    [...wanted].filter(([value, form]) => read.has(storedAs(value, form, b.known(value))[0].name)),
  );
  const keptBytes = [...kept].reduce(
    (sum, [value, form]) => value === input ? sum : sum + storedBytes(value, form, b.known(value)),
    0,
  );
  return { call, kept, keptBytes };
}

/**
 * The form in which an activation is kept.
 *
 * Among `all`, what has a row a token, as wide as what runs between segments or wider, goes into 8 bits
 * unnoticed; attention's probabilities do not: most are far smaller than their row's largest.
 */
function keptForm(
  halves: Halves,
  { dtype, dims }: Known,
  boundary: readonly number[],
): KeptForm {
  if (dtype !== "float32" || dims.length < 2 || halves === "none") return "whole";
  const isWider = dims.at(-1)! > boundary.at(-1)!;
  if (halves === "wide") return isWider ? "half" : "whole";
  if (elementCount(dims) < NARROW * elementCount(boundary)) return "whole";
  const isRowPerToken = rowsOf(dims) <= rowsOf(boundary) && dims.at(-1)! >= boundary.at(-1)!;
  return isRowPerToken ? "bytes" : "half";
}

/** Activations that are a smaller share of what runs between segments stay as they are. */
const NARROW = 1 / 8;

const rowsOf = (dims: readonly number[]) => elementCount(dims.slice(0, -1));

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
  const wrt = new Set(parameters);
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
  if (wantInput && segment.input !== undefined) {
    const cotangent = found.get(segment.input);
    if (cotangent === undefined) {
      throw new ReferenceError(`No gradient reaches "${segment.input}"`);
    }
    outputs.set(cotangent, cotangentName(segment.input));
  }
  return outputs;
}

/**
 * Operators that cost little beside the products around them: computing them again from a kept value
 * takes less than keeping their result, which has to travel to memory and back.
 */
const CHEAP = new Set([
  ..."Reshape Identity Squeeze Unsqueeze Flatten Transpose Split Slice Concat Expand Cast".split(
    " ",
  ),
  ..."Add Sub Mul Div Neg Sqrt Reciprocal Pow Erf Tanh Sigmoid Relu Gelu QuickGelu Where".split(
    " ",
  ),
  ..."RotaryEmbedding LayerNormalization SimplifiedLayerNormalization RMSNormalization".split(" "),
]);

/** Packing and unpacking are cheap, other lookups are not: they may read the whole vocabulary. */
function isCheap(node: Node): boolean {
  return CHEAP.has(node.opType) ||
    node.opType === "Gather" && [PACKED_PLACES, PACKED_ROWS].includes(node.inputs[1]);
}

/** Activations to keep so that all that the derivatives read is at hand, or cheap to compute from it. */
function keptValues(
  context: PlanContext,
  segment: Segment,
  derivative: readonly Node[],
): Set<string> {
  const producers = producersOf(segment.nodes);
  const kept = new Set<string>();
  const given = (value: string) =>
    !producers.has(value) || context.constants.has(value) || kept.has(value);
  /** Values that must be kept to compute `value` by cheap operators alone. */
  const leaves = (value: string, found: Set<string>): Set<string> => {
    if (given(value)) return found;
    const node = producers.get(value)!;
    if (!isCheap(node)) return found.add(value);
    for (const input of node.inputs) if (input !== "") leaves(input, found);
    return found;
  };
  /** Goes back along a chain of cheap operators to what is smallest. */
  const smallest = (value: string): string => {
    const node = producers.get(value)!;
    const inputs = node.inputs.filter((input) => input !== "" && producers.has(input));
    const [only] = inputs.filter((input) => !context.constants.has(input));
    if (!isCheap(node) || inputs.length !== 1 || only === undefined) return value;
    return sizeOf(context.lowered, only) <= sizeOf(context.lowered, value) ? smallest(only) : value;
  };
  /** One number a row: cheaper to keep than whatever computes it. */
  const isStatistic = (value: string) => {
    const dims = dimsIn(context.lowered, value);
    return dims.length > 1 && dims.at(-1) === 1;
  };
  const read = new Set(derivative.flatMap((node) => node.inputs));
  // Earlier values first: what is kept for them serves later ones.
  for (const node of segment.nodes) {
    for (const value of node.outputs) {
      if (!read.has(value)) continue;
      const missing = leaves(value, new Set());
      if (isStatistic(value) && !given(value)) kept.add(value);
      else if (missing.size === 1) kept.add([...missing][0]);
      else if (missing.size > 1) kept.add(smallest(value));
    }
  }
  return kept;
}

function sizeOf(lowered: Graph, value: string): number {
  return elementCount(dimsIn(lowered, value));
}
