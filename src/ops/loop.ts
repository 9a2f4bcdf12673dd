/** Loop, unrolled if shapes and constants tell how often it runs. */
import { bool, int64 } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { label, unsupported } from "./args.ts";
import { Body, constant, constantScalar, made, prefixOf, stacked, subgraphOf } from "./subgraph.ts";
import type { InlinedRule, Inlining } from "./types.ts";

/**
 * The body's nodes replace the Loop as often as it runs, those of each iteration under its number. Its
 * condition must come out as a constant each time, even if no first one is given: ONNX Runtime reads it then
 * too.
 */
function inline(node: Node, at: Inlining): void {
  const graph = subgraphOf(node, "body");
  const [trips = "", condition = "", ...initial] = node.inputs;
  const scans = graph.outputs.length - 1 - initial.length;
  if (graph.inputs.length !== initial.length + 2 || scans < 0) {
    throw new RangeError(
      `${label(node)}: its body has ${graph.inputs.length} inputs and ${graph.outputs.length} ` +
        `outputs, which do not fit ${initial.length} loop-carried values`,
    );
  }
  const prefix = prefixOf(node);
  const body = new Body(graph, `${prefix}constant/`);
  const limit = trips === "" ? Infinity : constantScalar(node, at, trips, "its trip count");
  const always = `${prefix}going`;
  at.emit([...body.constants, constant(bool([], [true]), always)], [always]);
  let going = condition === "" ? always : condition;
  const goesOn = () => constantScalar(node, at, going, "its condition") !== 0;
  let carried: readonly string[] = initial;
  const scanned = Array.from({ length: scans }, (): string[] => []);
  const rank = graph.inputs[0]?.type?.shape?.length ?? 0;
  for (let i = 0; i < limit && goesOn(); i++) {
    const iteration = `${prefix}iteration/${i}`;
    const { nodes, outputs } = body.nodes(`${prefix}${i}/`, [iteration, going, ...carried]);
    const number = int64(Array.from({ length: rank }, () => 1), [i]);
    at.emit([constant(number, iteration), ...nodes], outputs);
    [going, ...carried] = outputs;
    carried.slice(initial.length).forEach((value, k) => scanned[k].push(value));
    carried = carried.slice(0, initial.length);
  }
  at.emit(
    node.outputs.flatMap((output, i) => {
      if (output === "") return [];
      if (i < initial.length) return [made("Identity", [carried[i]], output)];
      return stacked(node, scanned[i - initial.length], 0, output, graph.outputs[i + 1]);
    }),
    node.outputs,
  );
}

export const Loop: InlinedRule = {
  opType: "Loop",
  domain: "",
  since: 7,
  attributes: ["body"],
  inputs: "0..",
  outputs: "1..",
  remark: "unrolled where its count is known",
  traits: { kind: "recurrence", rows: "mixed" },
  inline,
  infer(node) {
    throw unsupported(node, "how often it runs is computed from data");
  },
};
