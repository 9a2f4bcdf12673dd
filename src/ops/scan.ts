/** Scan, unrolled over the axis that it scans. */
import { int, intAttribute, ints, intsAttribute } from "../graph/attributes.ts";
import type { Graph, Node } from "../graph/types.ts";
import { label, unsupported } from "./args.ts";
import { normalizeAxis, range } from "./axes.ts";
import { Body, made, prefixOf, stacked, subgraphOf } from "./subgraph.ts";
import type { InlinedRule, Inlining } from "./types.ts";

/** What a Scan reads and writes, besides its body. */
interface Scanned {
  readonly states: readonly string[];
  readonly sequences: readonly string[];
  readonly inputAxes: readonly number[];
  readonly length: number;
}

/** A list of one number for each of `count` values; zeros if the node has none. */
function listOf(node: Node, name: string, count: number): readonly number[] {
  const list = intsAttribute(node, name, new Array<number>(count).fill(0));
  if (list.length === count) return list;
  throw new RangeError(
    `${label(node)}: attribute "${name}" must have ${count} entries: current value is [${list}]`,
  );
}

function read(node: Node, graph: Graph, at: Inlining): Scanned {
  const count = intAttribute(node, "num_scan_inputs", 0);
  const states = node.inputs.slice(0, node.inputs.length - count);
  const sequences = node.inputs.slice(states.length);
  const scans = node.outputs.length - states.length;
  if (
    count < 1 || sequences.length !== count || graph.inputs.length !== node.inputs.length ||
    scans < 0 || graph.outputs.length !== node.outputs.length
  ) {
    throw new RangeError(
      `${label(node)}: its body has ${graph.inputs.length} inputs and ${graph.outputs.length} ` +
        `outputs, which do not fit those of the node with ${count} scanned inputs`,
    );
  }
  const given = listOf(node, "scan_input_axes", count);
  const inputAxes = sequences.map((name, i) =>
    normalizeAxis(node, given[i], at.known(name).dims.length)
  );
  const lengths = sequences.map((name, i) => at.known(name).dims[inputAxes[i]]);
  if (lengths.some((length) => length !== lengths[0])) {
    throw new RangeError(`${label(node)} scans inputs of different lengths: [${lengths}]`);
  }
  return { states, sequences, inputAxes, length: lengths[0] };
}

/** Nodes that split a sequence, and the names of its elements in order. */
function elements(sequence: string, axis: number, length: number, prefix: string) {
  const parts = range(length).map((t) => `${prefix}${t}`);
  const single = parts.map((name) => `${name}/element`);
  const split: Node = {
    ...made("Split", [sequence], prefix, { axis: int(axis), split: ints(parts.map(() => 1)) }),
    outputs: parts,
  };
  const squeezed = parts.map((name, t) =>
    made("Squeeze", [name], single[t], { axes: ints([axis]) })
  );
  return { nodes: length === 0 ? [] : [split, ...squeezed], single };
}

/** The body's nodes replace the Scan once for each element, under its number. */
function inline(node: Node, at: Inlining): void {
  if (at.opset < 9) throw unsupported(node, "before operator set 9 it has batches of its own");
  const graph = subgraphOf(node, "body");
  const { states, sequences, inputAxes, length } = read(node, graph, at);
  const flags = (name: string, count: number) =>
    listOf(node, name, count).map((flag) => flag === 1);
  const backwards = flags("scan_input_directions", sequences.length);
  const prefix = prefixOf(node);
  const body = new Body(graph, `${prefix}constant/`);
  const taken = sequences.map((name, i) =>
    elements(name, inputAxes[i], length, `${prefix}input${i}/`)
  );
  at.emit(
    [...body.constants, ...taken.flatMap(({ nodes }) => nodes)],
    taken.flatMap(({ single }) => single),
  );
  let carried: readonly string[] = states;
  const scanned = node.outputs.slice(states.length).map((): string[] => []);
  for (let t = 0; t < length; t++) {
    const here = taken.map(({ single }, i) => single[backwards[i] ? length - 1 - t : t]);
    const { nodes, outputs } = body.nodes(`${prefix}${t}/`, [...carried, ...here]);
    at.emit(nodes, outputs);
    carried = outputs.slice(0, states.length);
    outputs.slice(states.length).forEach((value, k) => scanned[k].push(value));
  }
  const axes = listOf(node, "scan_output_axes", scanned.length);
  const prepends = flags("scan_output_directions", scanned.length);
  at.emit(
    node.outputs.flatMap((output, i) => {
      if (output === "") return [];
      if (i < states.length) return [made("Identity", [carried[i]], output)];
      const k = i - states.length;
      const info = graph.outputs[i];
      const [first] = scanned[k];
      const rank = (first === undefined ? info.type?.shape : at.known(first).dims)?.length ?? 0;
      const axis = normalizeAxis(node, axes[k], rank + 1);
      return stacked(node, prepends[k] ? scanned[k].reverse() : scanned[k], axis, output, info);
    }),
    node.outputs,
  );
}

export const Scan: InlinedRule = {
  opType: "Scan",
  domain: "",
  since: 9,
  attributes: [
    "body",
    "num_scan_inputs",
    "scan_input_axes",
    "scan_input_directions",
    "scan_output_axes",
    "scan_output_directions",
  ],
  inputs: "1..",
  outputs: "1..",
  remark: "unrolled over the scanned axis",
  traits: { kind: "recurrence", rows: "mixed" },
  inline,
  infer(node) {
    throw unsupported(node, "it is not unrolled");
  },
};
