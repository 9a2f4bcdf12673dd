/**
 * Rewrites `com.microsoft.GroupQueryAttention` that rotates its queries and keys as `RotaryEmbedding`
 * nodes before one that does not. The results do not change.
 *
 * Sources: docs/ContribOperators.md of ONNX Runtime for both operators; for positions its CPU kernel of
 * release 1.18, where several tokens are a sequence's first and one is its last.
 */
import { int, intAttribute } from "../attributes.ts";
import { ONNX_TYPE } from "../dtype.ts";
import { int64, type Tensor } from "../tensor.ts";
import { MICROSOFT, type Model, type Node } from "../types.ts";
import { verify } from "../verify.ts";

// Inputs of GroupQueryAttention.
const [LENGTHS, COSINES, SINES] = [5, 7, 8];

/** The rewritten model; attention that rotates nothing is not changed. */
export function rotateBeforeAttention(model: Model): Model {
  const { graph } = model;
  if (!graph.nodes.some(rotates)) return model;
  const initializers = new Map(graph.initializers);
  const nodes = graph.nodes.flatMap((node) => rotates(node) ? rotated(node, initializers) : [node]);
  return { ...model, graph: verify({ ...graph, nodes, initializers }, "rotateBeforeAttention()") };
}

const rotates = (node: Node) =>
  node.domain === MICROSOFT && node.opType === "GroupQueryAttention" &&
  intAttribute(node, "do_rotary", 0) === 1;

/** @param initializers gets the constants that the nodes read */
function rotated(attention: Node, initializers: Map<string, Tensor>): readonly Node[] {
  const { inputs, outputs, attributes: { do_rotary: _, rotary_interleaved, ...attributes } } =
    attention;
  const nodes: Node[] = [];
  const named = (part: string) => `${outputs[0]}/rotary/${part}`;
  const constant = (part: string, value: Tensor): string => {
    initializers.set(named(part), value);
    return named(part);
  };
  const node = (
    opType: string,
    reads: readonly string[],
    parts: readonly string[],
    given: Node["attributes"] = {},
    domain = "",
  ): string => {
    const made = parts.map(named);
    nodes.push({ name: made[0], opType, domain, inputs: reads, outputs: made, attributes: given });
    return made[0];
  };

  const heads = [
    intAttribute(attention, "num_heads", 0),
    intAttribute(attention, "kv_num_heads", 0),
  ];
  let [query, key, value] = inputs;
  if (!key) {
    // Packed queries, keys and values. The graph need not give a head's width, because the split is by heads,
    // not by columns.
    const [queries, keys] = heads;
    const apart = constant("apart", int64([4], [0, 0, queries + 2 * keys, -1]));
    const flat = constant("flat", int64([3], [0, 0, -1]));
    const counts = constant("counts", int64([3], [queries, keys, keys]));
    const names = ["query", "key", "value"];
    node("Split", [node("Reshape", [query, apart], ["packed"]), counts], names, { axis: int(2) });
    [query, key, value] = names.map((name) =>
      node("Reshape", [named(name), flat], [`${name}/flat`])
    );
  }

  // A single token is at the end of its sequence, at `seqlens_k`; several tokens begin at 0.
  const one = constant("one", int64([], [1]));
  const tokens = node("Gather", [node("Shape", [query], ["shape"]), one], ["tokens"]);
  const column = constant("column", int64([2], [-1, 1]));
  const long = { to: int(ONNX_TYPE.int64) };
  const ends = node(
    "Cast",
    [node("Reshape", [inputs[LENGTHS], column], ["lengths"])],
    ["ends"],
    long,
  );
  const alone = node("Cast", [node("Equal", [tokens, one], ["is one"])], ["alone"], long);
  const range = node("Range", [constant("zero", int64([], [0])), tokens, one], ["range"]);
  const positions = node("Add", [node("Mul", [ends, alone], ["start"]), range], ["positions"]);

  const tables = [inputs[COSINES], inputs[SINES]];
  const width = initializers.get(tables[0])?.dims[1];
  const rotatedPair = [query, key].map((vector, i) =>
    node("RotaryEmbedding", [vector, positions, ...tables], [["query", "key"][i] + "/rotated"], {
      ...(rotary_interleaved === undefined ? {} : { interleaved: rotary_interleaved }),
      // Only the first columns of a head may be rotated.
      ...(width === undefined
        ? {}
        : { num_heads: int(heads[i]), rotary_embedding_dim: int(2 * width) }),
    }, MICROSOFT)
  );
  const rest = inputs.slice(3).map((name, i) => [COSINES, SINES].includes(i + 3) ? "" : name);
  while (rest.at(-1) === "") rest.pop();
  nodes.push({ ...attention, inputs: [...rotatedPair, value, ...rest], attributes });
  return nodes;
}
