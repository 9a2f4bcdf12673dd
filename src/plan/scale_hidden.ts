/**
 * Multiplies the hidden state instead of the logits: (h·W)·c = (h·c)·W. A row of logits is many times
 * as wide, and a head that ends with its product can run in chunks of the vocabulary.
 */
import { producersOf, readersOf, typeIn } from "../graph/facts.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { plainProduct } from "./plain_product.ts";

/**
 * @param lowered graph of known shapes, whose output is the logits
 * @param trainable initializers that training changes
 * @returns the same graph where its last node does not multiply or divide a head's logits by a frozen number
 */
export function scaleHidden(lowered: Graph, trainable: ReadonlySet<string>): Graph {
  const [{ name: logits }] = lowered.outputs;
  const producers = producersOf(lowered.nodes);
  const scaling = producers.get(logits);
  if (scaling === undefined) return lowered;
  const unscaled = scaledValue(lowered, scaling, trainable);
  const made = unscaled === undefined ? undefined : producers.get(unscaled);
  const plain = made && plainProduct(made);
  if (plain === undefined || plain.bias !== undefined) return lowered;
  if (readersOf(lowered).get(unscaled!)!.length > 1) return lowered;
  const [hidden, ...others] = plain.product.inputs;
  const scaled = `${hidden}.scaled`;
  const nodes = lowered.nodes.flatMap((node) => {
    if (node === scaling) return [];
    if (node !== plain.product) return [node];
    const inputs = scaling.inputs.map((input) => input === unscaled ? hidden : input);
    return [
      { ...scaling, name: scaled, inputs, outputs: [scaled] },
      { ...node, inputs: [scaled, ...others], outputs: [logits] },
    ];
  });
  const { dtype, dims: shape } = typeIn(lowered, hidden)!;
  const valueInfo = new Map(lowered.valueInfo).set(scaled, {
    name: scaled,
    type: { dtype, shape },
  });
  return { ...lowered, nodes, valueInfo };
}

/** The value that a node multiplies by a frozen number, or divides by it; `undefined` for any other node. */
function scaledValue(
  { initializers }: Graph,
  { opType, inputs: [a, b] }: Node,
  trainable: ReadonlySet<string>,
): string | undefined {
  const isNumber = (name: string) => {
    const value = initializers.get(name);
    return value !== undefined && !trainable.has(name) && elementCount(value.dims) === 1 &&
      value.dims.length <= 2;
  };
  if ((opType === "Mul" || opType === "Div") && isNumber(b)) return a;
  return opType === "Mul" && isNumber(a) ? b : undefined;
}
