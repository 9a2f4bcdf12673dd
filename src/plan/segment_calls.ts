/** The forward and the backward call of one segment. */
import { pullback } from "../autodiff/pullback.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { elementCount } from "../graph/tensor.ts";
import { byteLength } from "../graph/dtype.ts";
import type { Graph, Node } from "../graph/types.ts";
import { builderOver, callOf, type PlannedCall } from "./call.ts";
import type { Segment } from "./cut.ts";
import { cotangentName, gradientName } from "./names.ts";

/** What the calls of one plan have in common. */
export interface PlanContext {
  readonly lowered: Graph;
  /** Initializers that are fed rather than embedded; the trainable ones included. */
  readonly fed: ReadonlySet<string>;
  readonly trainable: ReadonlySet<string>;
  /** Values that depend on initializers alone. */
  readonly constants: ReadonlySet<string>;
  /** Whether the graph computes logits of every token, so that target rows are picked after it. */
  readonly pickRows: boolean;
}

/** Trainable tensors that a segment reads. */
export function trainablesOf(context: PlanContext, segment: Segment): string[] {
  const read = new Set(segment.nodes.flatMap((node) => node.inputs));
  return [...context.trainable].filter((name) => read.has(name));
}

/** Computes a segment's output, and the values its backward call wants kept. */
export function forwardCall(
  context: PlanContext,
  segment: Segment,
  kept: ReadonlySet<string> = new Set(),
): PlannedCall {
  const b = builderOver(context.lowered, segment.nodes, context.fed);
  const outputs = new Map([segment.output, ...kept].map((name) => [name, name]));
  return callOf(b, `forward to ${segment.output}`, outputs);
}

/** The backward call of a segment and the activations it takes from the forward call. */
export interface Backward {
  readonly call: PlannedCall;
  readonly kept: ReadonlySet<string>;
  /** Bytes of the kept activations. */
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
  const kept = options.keep
    ? keptValues(context, segment, b.nodes.slice(forwardNodes))
    : new Set<string>();
  const keptBytes = [...kept].reduce((sum, name) => {
    const known = b.known(name);
    return sum + byteLength(known.dtype, elementCount(known.dims));
  }, 0);
  return { call: callOf(b, `backward from ${segment.output}`, outputs, kept), kept, keptBytes };
}

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

/** Activations to keep so that all that the derivatives read is at hand, or cheap to compute from it. */
function keptValues(
  context: PlanContext,
  segment: Segment,
  derivative: readonly Node[],
): Set<string> {
  const producers = new Map(
    segment.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)),
  );
  const kept = new Set<string>();
  const given = (value: string) =>
    !producers.has(value) || context.constants.has(value) || kept.has(value);
  /** Values that must be kept to compute `value` by cheap operators alone. */
  const leaves = (value: string, found: Set<string>): Set<string> => {
    if (given(value)) return found;
    const node = producers.get(value)!;
    if (!CHEAP.has(node.opType)) return found.add(value);
    for (const input of node.inputs) if (input !== "") leaves(input, found);
    return found;
  };
  /** One number a row: cheaper to keep than whatever computes it. */
  const isStatistic = (value: string) => {
    const dims = shapeOf(context.lowered, value);
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
      else if (missing.size > 1) kept.add(value);
    }
  }
  return kept;
}

function shapeOf(lowered: Graph, value: string): readonly number[] {
  return (lowered.valueInfo.get(value)?.type?.shape ?? []) as readonly number[];
}
