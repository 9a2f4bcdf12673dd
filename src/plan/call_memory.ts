/**
 * When a call's graph takes and releases memory: ONNX Runtime's order of nodes and its plan of buffers,
 * computed from shapes alone.
 *
 * Sources: onnxruntime/core/graph/graph_viewer.cc (order) and core/framework/allocation_planner.cc (reuse),
 * for one stream, without a memory pattern.
 */
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { byteLength } from "../graph/dtype.ts";
import type { BoundSizes } from "../graph/size.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { traitsOf } from "../ops/registry.ts";
import { type CallGraph, graphAt, knownValues, sizedValues } from "./call_graph.ts";

/** A buffer taken, by its number within a call. */
export interface Taking {
  readonly buffer: number;
  readonly bytes: number;
}

/** The effect of running one node on memory. */
export interface NodeMemory {
  readonly takes: readonly Taking[];
  /** Bytes that the kernel takes in addition to its outputs, until it is done. */
  readonly scratchBytes: readonly number[];
  /** Buffers that nothing reads after this node. */
  readonly releases: readonly number[];
}

/** The effect of running a graph on memory. */
export interface CallMemory {
  readonly nodes: readonly NodeMemory[];
  /** The buffer of each output; none of them is released. */
  readonly outputs: ReadonlyMap<string, number>;
}

/**
 * @param graph with concrete shapes, as in the plan's calls
 * @param sized values that do not take the memory of dead ones (`sizedValues`)
 */
export function callMemory(graph: Graph, sized: ReadonlySet<string> = new Set()): CallMemory {
  const known = knownValues(graph);
  const order = runtimeOrder(graph);
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const plan = new BufferPlan(order, { outputs, sized, known });
  const nodes = order.map((node) => ({
    takes: plan.place(node),
    scratchBytes: traitsOf(node).scratch(node, known),
    releases: [] as number[],
  }));
  for (const { buffer, after } of plan.dead) nodes[after].releases.push(buffer);
  return {
    nodes,
    outputs: new Map([...outputs].map((name) => [name, plan.bufferOf(name)!])),
  };
}

/**
 * The same of a planned call.
 *
 * @param sizes of the batch
 */
export function callMemoryAt(call: CallGraph, sizes: BoundSizes): CallMemory {
  return callMemory(graphAt(call, sizes), sizedValues(call.graph));
}

/** The most memory that a call has at the same time. */
export interface CallPeak {
  readonly bytes: number;
  /** Index of the node that runs then. */
  readonly node: number;
}

/** @param elsewhere buffers that the caller provides */
export function callPeak(
  { nodes }: CallMemory,
  elsewhere: ReadonlySet<number> = new Set(),
): CallPeak {
  const sizes = new Map<number, number>();
  let now = 0;
  let peak: CallPeak = { bytes: 0, node: 0 };
  for (const [node, { takes, scratchBytes, releases }] of nodes.entries()) {
    for (const { buffer, bytes } of takes) {
      if (elsewhere.has(buffer)) continue;
      sizes.set(buffer, bytes);
      now += bytes;
    }
    const bytes = scratchBytes.reduce((sum, scratch) => sum + scratch, now);
    if (bytes > peak.bytes) peak = { bytes, node };
    for (const buffer of releases) now -= sizes.get(buffer) ?? 0;
  }
  return peak;
}

/**
 * The order in which the runtime runs nodes: depth first from the last node whose outputs nothing reads,
 * among a node's inputs those that stand later in the graph first, each node after all of its inputs.
 */
export function runtimeOrder({ nodes }: Graph): readonly Node[] {
  const producer = new Map<string, number>();
  nodes.forEach((node, i) => node.outputs.forEach((output) => producer.set(output, i)));
  const inputsOf = nodes.map((node) =>
    [
      ...new Set(node.inputs.flatMap((input) => {
        const found = producer.get(input);
        return found === undefined || input === "" ? [] : [found];
      })),
    ].sort((a, c) => a - c)
  );
  const read = new Set(inputsOf.flat());
  const stack = nodes.flatMap((_, i) => read.has(i) ? [] : [{ index: i, leaving: false }]);
  const visited = new Set<number>();
  const order: Node[] = [];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { index, leaving } = top;
    if (leaving) {
      order.push(nodes[index]);
      continue;
    }
    if (visited.has(index)) continue;
    visited.add(index);
    stack.push({ index, leaving: true });
    for (const input of inputsOf[index]) {
      if (!visited.has(input)) stack.push({ index: input, leaving: false });
    }
  }
  return order;
}

interface Dead {
  readonly buffer: number;
  /** Index of the last node that reads the buffer. */
  readonly after: number;
}

/** Assigns a buffer to each value, node by node. */
class BufferPlan {
  /** Buffers that are free for a value of the same type and shape, latest first. */
  dead: Dead[] = [];
  readonly #known: GraphBuilder;
  readonly #outputs: ReadonlySet<string>;
  readonly #sized: ReadonlySet<string>;
  readonly #bufferOf = new Map<string, number>();
  /** Remaining reads of each value. */
  readonly #reads = new Map<string, number>();
  /** Remaining reads of each buffer, shared by all of its values. */
  readonly #uses: number[] = [];
  /** Of each buffer that values of the same shape may take. */
  readonly #shapes: string[] = [];
  #node = 0;

  constructor(
    order: readonly Node[],
    { outputs, sized, known }: {
      readonly outputs: ReadonlySet<string>;
      readonly sized: ReadonlySet<string>;
      readonly known: GraphBuilder;
    },
  ) {
    this.#known = known;
    this.#outputs = outputs;
    this.#sized = sized;
    // The caller reads outputs, after everything else.
    for (const name of [...order.flatMap(({ inputs }) => inputs), ...outputs]) {
      this.#reads.set(name, (this.#reads.get(name) ?? 0) + 1);
    }
  }

  /** The buffer of a value; `undefined` for one that the caller provides. */
  bufferOf(value: string): number | undefined {
    return this.#bufferOf.get(value);
  }

  /** Plans the next node's outputs; returns the newly taken buffers. */
  place(node: Node): Taking[] {
    const takes: Taking[] = [];
    node.outputs.forEach((output, i) => {
      if (output === "") return;
      const known = this.#known.known(output);
      const shared = this.#outputs.has(output)
        ? undefined
        : this.#reusableInput(node, i, known) ?? this.#deadBuffer(output, known);
      if (shared === "caller's") return;
      const buffer = shared ?? this.#uses.push(0) - 1;
      this.#bufferOf.set(output, buffer);
      this.#uses[buffer] += this.#reads.get(output) ?? 0;
      if (!this.#sized.has(output)) this.#shapes[buffer] ??= shapeText(known);
      if (shared === undefined) takes.push({ buffer, bytes: bytesOf(known) });
    });
    for (const input of node.inputs) {
      const buffer = this.#bufferOf.get(input);
      if (buffer !== undefined && --this.#uses[buffer] === 0) this.#free(buffer);
    }
    for (const output of node.outputs) {
      const buffer = this.#bufferOf.get(output);
      if (buffer !== undefined && this.#uses[buffer] === 0) this.#free(buffer);
    }
    this.#node++;
    return takes;
  }

  #free(buffer: number): void {
    if (this.dead.some((other) => other.buffer === buffer)) return;
    this.dead.unshift({ buffer, after: this.#node });
  }

  #reusableInput(node: Node, output: number, known: Known): number | "caller's" | undefined {
    if (output > 0) return undefined;
    const { memory } = traitsOf(node);
    if (memory === "view") return this.#bufferOf.get(node.inputs[0]) ?? "caller's";
    if (memory === "own") return undefined;
    const [input] = node.inputs;
    const buffer = this.#bufferOf.get(input);
    const fits = shapeText(this.#known.known(input)) === shapeText(known);
    return buffer !== undefined && this.#uses[buffer] === 1 && fits ? buffer : undefined;
  }

  #deadBuffer(output: string, known: Known): number | undefined {
    const shape = shapeText(known);
    if (known.dims.length === 0 || this.#sized.has(output)) return undefined;
    const at = this.dead.findIndex(({ buffer }) => this.#shapes[buffer] === shape);
    return at < 0 ? undefined : this.dead.splice(at, 1)[0].buffer;
  }
}

const shapeText = ({ dtype, dims }: Known) => `${dtype}[${dims}]`;

const bytesOf = ({ dtype, dims }: Known) => byteLength(dtype, elementCount(dims));
