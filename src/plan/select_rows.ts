/**
 * Computes logits only where the loss needs them: a language model's head is a fifth to a quarter of a small
 * model's work, and most tokens of a prompt are not targets.
 */
import { constantValues } from "../graph/passes/constants.ts";
import { node } from "../graph/node.ts";
import { intAttribute } from "../graph/attributes.ts";
import { packedFeatures } from "../ops/schema/packed_linear.ts";
import { int64 } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { isElementwise, kindOf, traitsOf } from "../ops/registry.ts";

/** Graph input with the rows of the flattened [batch · length] to keep. */
export const TARGET_ROWS = "target_rows";

/**
 * Inserts `Gather(Reshape(h, [-1, H]), target_rows)` before the last linear layer, so that `logits` becomes
 * [rows, vocabulary]. Exact: everything after `h` treats rows independently.
 *
 * @returns the graph with one more input, or `undefined` where the head does not have this form
 */
export function selectTargetRows(graph: Graph, logits: string): Graph | undefined {
  const producers = new Map<string, Node>();
  const order = new Map<string, number>();
  graph.nodes.forEach((node, i) =>
    node.outputs.forEach((output) => {
      producers.set(output, node);
      order.set(output, i);
    })
  );
  const constants = constantValues(graph);
  const frontier = new Set([logits]);
  const crossed: Node[] = [];
  while (true) {
    const latest = [...frontier].reduce((a, c) =>
      (order.get(a) ?? -1) >= (order.get(c) ?? -1) ? a : c
    );
    const node = producers.get(latest);
    if (node === undefined || !isRowWise(graph, node, constants)) return undefined;
    crossed.push(node);
    frontier.delete(latest);
    for (const input of node.inputs) {
      if (input !== "" && !constants.has(input)) frontier.add(input);
    }
    const linear = crossed.some(multipliesRows);
    if (frontier.size === 1 && linear) break;
    if (frontier.size === 0) return undefined;
  }
  const [hidden] = frontier;
  const readers = graph.nodes.filter((node) => node.inputs.includes(hidden));
  if (!readers.every((node) => crossed.includes(node))) return undefined;
  const width = hiddenWidth(graph, crossed, hidden);
  if (width === undefined) return undefined;
  return withSelectedRows(graph, hidden, crossed, width);
}

function isRowWise(graph: Graph, node: Node, constants: ReadonlySet<string>): boolean {
  if (multipliesRows(node)) {
    return constants.has(node.inputs[1]) &&
      (kindOf(node) === "packed product" || isAlikeInRows(graph, node.inputs[2] ?? ""));
  }
  if (normalizesRows(node)) return true;
  return isElementwise(node) && node.inputs.every((input) => isAlikeInRows(graph, input));
}

/** Whether a node multiplies the rows of its first input by a matrix. */
function multipliesRows(node: Node): boolean {
  const kind = kindOf(node);
  return kind === "packed product" || kind === "product" && intAttribute(node, "transA", 0) === 0;
}

/** Whether a node normalises each row on its own; for other axes, no shape here says how many they cover. */
function normalizesRows(node: Node): boolean {
  return kindOf(node) === "normalization" && traitsOf(node).rows !== "mixed" &&
    intAttribute(node, "axis", -1) === -1;
}

/**
 * Whether a value is the same for all rows: not a constant with an entry per row, such as a positional bias.
 */
function isAlikeInRows({ initializers }: Graph, value: string): boolean {
  return initializers.get(value)?.dims.slice(0, -1).every((dim) => dim === 1) ?? true;
}

function withSelectedRows(
  graph: Graph,
  hidden: string,
  crossed: readonly Node[],
  width: number,
): Graph {
  const flat = `${hidden}.flat`;
  const rows = `${hidden}.rows`;
  const shape = `${hidden}.flat_shape`;
  const inserted: Node[] = [
    node("Reshape", [hidden, shape], flat),
    node("Gather", [flat, TARGET_ROWS], rows, { axis: { kind: "int", value: 0 } }),
  ];
  const first = Math.min(...crossed.map((n) => graph.nodes.indexOf(n)));
  const renamed = graph.nodes.map((n) =>
    crossed.includes(n)
      ? { ...n, inputs: n.inputs.map((input) => input === hidden ? rows : input), rest: undefined }
      : n
  );
  const at = Math.max(first, graph.nodes.findIndex((n) => n.outputs.includes(hidden)) + 1);
  return {
    ...graph,
    nodes: [...renamed.slice(0, at), ...inserted, ...renamed.slice(at)],
    inputs: [...graph.inputs, {
      name: TARGET_ROWS,
      type: { dtype: "int64", shape: ["target_rows"] },
    }],
    initializers: new Map([...graph.initializers, [shape, int64([2], [-1, width])]]),
    valueInfo: new Map(),
  };
}

/** Width of the hidden state, from the linear layer that reads it or its own annotation. */
function hiddenWidth(graph: Graph, crossed: readonly Node[], hidden: string): number | undefined {
  const annotated = graph.valueInfo.get(hidden)?.type?.shape?.at(-1);
  if (typeof annotated === "number") return annotated;
  for (const n of crossed) {
    if (!n.inputs.includes(hidden)) continue;
    const packed = packedFeatures(n);
    if (packed !== undefined) return packed.inFeatures || undefined;
    const dims = graph.initializers.get(n.inputs[1])?.dims;
    if (dims === undefined || dims.length !== 2) continue;
    return intAttribute(n, "transB", 0) === 1 ? dims[1] : dims[0];
  }
  return undefined;
}
