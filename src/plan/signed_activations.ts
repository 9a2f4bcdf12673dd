/**
 * The form `s8s8` of products in 8-bit integers: calls are planned with uint8 activations around 128; here
 * these become int8 around 0. The integers relative to the zero point are the same, and so are the sums.
 *
 * Activations that use the whole range of uint8, such as a head's probabilities, do not change.
 */
import { ZERO_POINTS } from "../graph/codes.ts";
import { producersOf, readersOf } from "../graph/facts.ts";
import { extentsOf, filledTensor, fillOf, sizedName } from "../graph/extents.ts";
import type { Graph, Node } from "../graph/types.ts";
import { zeroPointInputs } from "../ops/schema/quantization.ts";
import type { PlannedCall } from "./call.ts";
import { apartFromSized, innerValues, keyOfCall, wholeGraph } from "./call_graph.ts";

/** The calls with signed activations. */
export function withSignedActivations(calls: readonly PlannedCall[]): readonly PlannedCall[] {
  const made = new Map<Graph, Signed>();
  return calls.map((call) => {
    let signed = made.get(call.graph);
    if (signed === undefined) made.set(call.graph, signed = signedCall(call));
    const { key, graph, sized } = signed;
    const read = new Set(graph.inputs.map(({ name }) => name));
    const feeds = new Map([
      ...[...call.feeds].filter(([name]) => read.has(name)),
      ...[...sized].map(([name, value]) => [name, sizedName(value)] as const),
    ]);
    return { ...call, key, graph, sized, feeds };
  });
}

type Signed = Pick<PlannedCall, "key" | "graph" | "sized">;

function signedCall(call: PlannedCall): Signed {
  const whole = wholeGraph(call);
  const signed = signedGraph(whole);
  if (signed === whole) return call;
  const { graph, sized } = apartFromSized({ ...signed, valueInfo: new Map() });
  const named = sized.size === 0 ? graph : { ...graph, valueInfo: innerValues(signed) };
  return { key: keyOfCall(named), graph: named, sized };
}

/** The zero point of the activations that a node makes or reads. */
const zeroPointOf = (node: Node) => node.inputs[zeroPointInputs(node)[0]] ?? "";

/** One call's graph with signed activations. */
export function signedGraph(graph: Graph): Graph {
  const { nodes, initializers } = graph;
  const isMiddle = (name: string) => {
    const value = initializers.get(name);
    if (value?.dtype !== "uint8") return false;
    return (fillOf(value) ?? value.bytes).every((byte) => byte === ZERO_POINTS.uint8);
  };
  const readers = readersOf(graph);
  const producers = producersOf(nodes);
  const isRounding = (node: Node | undefined) =>
    node?.opType === "QuantizeLinear" && isMiddle(zeroPointOf(node));
  /** Whether a node joins tiles of codes. */
  const isWhole = (node: Node) =>
    node.opType === "Concat" &&
    node.inputs.every((input) =>
      isRounding(producers.get(input)) && readers.get(input)?.length === 1
    );
  const multiplied = (codes: string): boolean =>
    readers.get(codes)?.every((node) => {
      if (node === undefined) return false;
      if (isWhole(node)) return multiplied(node.outputs[0]);
      return node.inputs[0] === codes && isMiddle(zeroPointOf(node));
    }) ?? false;
  const rounded = nodes.filter((node) => isRounding(node) && multiplied(node.outputs[0]));
  if (rounded.length === 0) return graph;
  const parts = new Set(rounded.flatMap(({ outputs }) => outputs));
  const wholes = nodes.filter((node) => isWhole(node) && parts.has(node.inputs[0]));
  const codes = new Set([...parts, ...wholes.flatMap(({ outputs }) => outputs)]);
  const zeros = new Map(initializers);
  const zeroOf = (name: string) => {
    const { dims } = initializers.get(name)!;
    zeros.set(`${name}.signed`, filledTensor("int8", extentsOf(dims), Uint8Array.of(0)));
    return `${name}.signed`;
  };
  const changed = nodes.map((node): Node => {
    const [index] = zeroPointInputs(node);
    const isChanged = codes.has(node.outputs[0]) || codes.has(node.inputs[0]);
    if (!isChanged || index === undefined) return node;
    return { ...node, inputs: node.inputs.with(index, zeroOf(node.inputs[index])) };
  });
  const read = new Set(changed.flatMap(({ inputs }) => inputs));
  return {
    ...graph,
    nodes: changed,
    initializers: new Map([...zeros].filter(([name]) => read.has(name))),
  };
}
