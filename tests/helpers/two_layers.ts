/**
 * A language model of two layers, small enough to be read: RMS normalisation and SiLU taken apart, as
 * exporters do, attention as one operator, and in each layer one weight packed in blocks of 4 bits.
 */
import { int } from "../../src/graph/attributes.ts";
import { node } from "../../src/graph/node.ts";
import { float32, int64, type Tensor, tensor } from "../../src/graph/tensor.ts";
import { MICROSOFT, type Model, type Node } from "../../src/graph/types.ts";
import { Random } from "../../src/random.ts";

const [WIDTH, INNER, HEADS, VOCABULARY, BLOCK] = [32, 64, 2, 96, 32];

export function twoLayers(): Model {
  const random = Random.fromSeed(3);
  const initializers = new Map<string, Tensor>();
  const weight = (name: string, dims: readonly number[]) => {
    const count = dims.reduce((product, dim) => product * dim, 1);
    const values = Float32Array.from({ length: count }, () => (random.next() / 2 ** 32 - 0.5) / 4);
    initializers.set(name, float32(dims, values));
    return name;
  };
  initializers.set("two", float32([], [2]));
  initializers.set("epsilon", float32([], [1e-5]));
  initializers.set("half", float32([], [0.5]));
  initializers.set("last", int64([1], [-1]));
  const nodes: Node[] = [
    node("Gather", [weight("embedding", [VOCABULARY, WIDTH]), "input_ids"], "x0"),
  ];
  const add = (opType: string, inputs: string[], output: string, attributes = {}) => {
    nodes.push(node(opType, inputs, output, attributes));
    return output;
  };
  const norm = (x: string, name: string) => {
    const square = add("Pow", [x, "two"], `${name}.square`);
    const mean = add("ReduceMean", [square, "last"], `${name}.mean`, { keepdims: int(1) });
    const root = add("Sqrt", [add("Add", [mean, "epsilon"], `${name}.shifted`)], `${name}.root`);
    return add(
      "Mul",
      [add("Div", [x, root], `${name}.unit`), weight(`${name}.weight`, [WIDTH])],
      name,
    );
  };
  const linear = (x: string, path: string, inputs: number, outputs: number) =>
    add("MatMul", [x, weight(`${path}.weight`, [inputs, outputs])], path);
  for (const [i, path] of ["layers.0", "layers.1"].entries()) {
    const n = norm(`x${i}`, `${path}.input_norm`);
    const [q, k, v] = ["q", "k", "v"].map((name) =>
      linear(n, `${path}.${name}_proj`, WIDTH, WIDTH)
    );
    const attended = add("Attention", [q, k, v], `${path}.attention`, {
      is_causal: int(1),
      q_num_heads: int(HEADS),
      kv_num_heads: int(HEADS),
    });
    const between = add(
      "Add",
      [`x${i}`, linear(attended, `${path}.o_proj`, WIDTH, WIDTH)],
      `${path}.between`,
    );
    const m = norm(between, `${path}.mlp_norm`);
    const gate = linear(m, `${path}.gate_proj`, WIDTH, INNER);
    const up = linear(m, `${path}.up_proj`, WIDTH, INNER);
    const silu = add("Mul", [gate, add("Sigmoid", [gate], `${path}.sigmoid`)], `${path}.silu`);
    const gated = add("Mul", [silu, up], `${path}.gated`);
    const codes = Uint8Array.from({ length: WIDTH * INNER / 2 }, () => random.next() % 256);
    const down = `${path}.down_proj`;
    initializers.set(`${down}.codes`, tensor("uint8", [WIDTH, INNER / BLOCK, BLOCK / 2], codes));
    weight(`${down}.scales`, [WIDTH * INNER / BLOCK]);
    nodes.push({
      ...node("MatMulNBits", [gated, `${down}.codes`, `${down}.scales`], down, {
        K: int(INNER),
        N: int(WIDTH),
        bits: int(4),
        block_size: int(BLOCK),
      }),
      domain: MICROSOFT,
    });
    add("Add", [between, down], `x${i + 1}`);
  }
  const scores = linear(norm("x2", "norm"), "lm_head", WIDTH, VOCABULARY);
  add("Mul", [scores, "half"], "logits");
  return {
    irVersion: 10,
    opsets: { "": 23, [MICROSOFT]: 1 },
    metadata: {},
    graph: {
      name: "two layers",
      inputs: [{ name: "input_ids", type: { dtype: "int64", shape: ["batch", "length"] } }],
      outputs: [{
        name: "logits",
        type: { dtype: "float32", shape: ["batch", "length", VOCABULARY] },
      }],
      initializers,
      nodes,
      valueInfo: new Map(),
    },
  };
}
