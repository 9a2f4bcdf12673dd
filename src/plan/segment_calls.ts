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

/** Operators that only look at their input another way: recomputing them is free, keeping is not. */
const VIEWS = new Set(["Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"]);

/** Activations of the segment that its derivatives read, views replaced by what they look at. */
function keptValues(
  context: PlanContext,
  segment: Segment,
  derivative: readonly Node[],
): Set<string> {
  const producers = new Map(
    segment.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)),
  );
  const kept = new Set<string>();
  for (const node of derivative) {
    for (const input of node.inputs) {
      let value = input;
      while (VIEWS.has(producers.get(value)?.opType ?? "")) value = producers.get(value)!.inputs[0];
      if (producers.has(value) && !context.constants.has(value)) kept.add(value);
    }
  }
  return kept;
}
