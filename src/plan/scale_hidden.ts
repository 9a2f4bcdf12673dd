/**
 * Multiplies the hidden state instead of the logits: (h·W)·c = (h·c)·W. A row of logits is many times
 * as wide, and a head that ends with its product can run in chunks of the vocabulary.
 */
import { producersOf, readersOf, typeIn } from "../graph/facts.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";

/**
 * @param lowered graph of concrete shapes, whose output are the logits
 * @param trainable initializers that change
 * @returns the same graph where its last node is no product or quotient of a head's logits and a
 *   frozen number
 */
export function scaleHidden(lowered: Graph, trainable: ReadonlySet<string>): Graph {
  const [{ name: logits }] = lowered.outputs;
  const producers = producersOf(lowered.nodes);
  const scaling = producers.get(logits);
  if (scaling === undefined) return lowered;
  const found = scaledValue(lowered, scaling, trainable);
  const product = found && producers.get(found.value);
  if (!product || !isProduct(product)) return lowered;
  if (readersOf(lowered).get(found.value)!.length > 1) return lowered;
  const [hidden, ...others] = product.inputs;
  const scaled = `${hidden}.scaled`;
  const nodes = lowered.nodes.flatMap((node) => {
    if (node === scaling) return [];
    if (node !== product) return [node];
    const inputs = found.first ? [hidden, found.factor] : [found.factor, hidden];
    return [
      { ...scaling, name: scaled, inputs, outputs: [scaled] },
      { ...product, inputs: [scaled, ...others], outputs: [logits] },
    ];
  });
  const { dtype, dims: shape } = typeIn(lowered, hidden)!;
  const valueInfo = new Map(lowered.valueInfo).set(scaled, {
    name: scaled,
    type: { dtype, shape },
  });
  return verify({ ...lowered, nodes, valueInfo }, "scaleHidden()");
}

/** A product of activations and a weight, and nothing else. */
function isProduct({ opType, domain, inputs }: Node): boolean {
  const isPlain = opType === "MatMul" || (opType === "Gemm" && (inputs[2] ?? "") === "");
  return domain === "" && isPlain;
}

/** What a node multiplies by a frozen number, or divides by it; `undefined` for any other node. */
function scaledValue(lowered: Graph, node: Node, trainable: ReadonlySet<string>) {
  const isNumber = (name: string) => {
    const value = lowered.initializers.get(name);
    return value !== undefined && !trainable.has(name) && elementCount(value.dims) === 1 &&
      value.dims.length <= 2;
  };
  const [a, b] = node.inputs;
  if (node.opType !== "Mul" && node.opType !== "Div") return undefined;
  if (isNumber(b)) return { value: a, factor: b, first: true };
  return node.opType === "Mul" && isNumber(a) ? { value: b, factor: a, first: false } : undefined;
}
