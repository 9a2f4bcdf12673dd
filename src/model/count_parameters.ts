/** How many weights a model has, whatever they are stored in. */
import { bitsOf, isFloating } from "../graph/dtype.ts";
import { intAttribute } from "../graph/attributes.ts";
import { graphsWithin, tensorsOf } from "../graph/nested.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph, Model, Node } from "../graph/types.ts";
import { findModules, type LinearModule } from "../lora/modules.ts";
import { kindOf } from "../ops/registry.ts";
import { inputsBesideWeights } from "../ops/schema/quantization.ts";

/**
 * Weights of a model: a 4-bit weight counts as one, a weight that two operators share once; scales,
 * zero points, rotary tables and integers for shapes do not count.
 */
export function countParameters(
  model: Model,
  modules: readonly LinearModule[] = findModules(model, { allowAmbiguous: true }),
): number {
  const { graph } = model;
  const linear = new Map(
    modules.map(({ weight, inFeatures, outFeatures, slice }) =>
      [weight, inFeatures * (slice?.total ?? outFeatures)] as const
    ),
  );
  const packed = packedWeights(graph);
  const beside = auxiliaries(graph, modules);
  let count = 0;
  for (const [name, tensor] of [...graphsWithin(graph)].flatMap((each) => [...tensorsOf(each)])) {
    const size = elementCount(tensor.dims);
    if (linear.has(name)) count += linear.get(name)!;
    else if (beside.has(name) || tensor.dims.length === 0) continue; // a scalar is an operand
    else if (isFloating(tensor.dtype)) count += size;
    else if (packed.has(name)) count += size * bitsOf(tensor.dtype) / packed.get(name)!;
    else if (tensor.dims.length >= 2 && bitsOf8(tensor.dtype)) count += size;
  }
  return count;
}

const bitsOf8 = (dtype: string) => ["int8", "uint8", "int4", "uint4"].includes(dtype);

/** Embeddings in `GatherBlockQuantized`: bits of a weight by initializer. */
function packedWeights(graph: Graph): ReadonlyMap<string, number> {
  return new Map(
    graph.nodes.filter((node) => kindOf(node) === "packed lookup").flatMap((node) => {
      const { inputs: [data] } = node;
      const dtype = graph.initializers.get(data)?.dtype;
      return dtype === "uint8" ? [[data, intAttribute(node, "bits", 4)] as const] : [];
    }),
  );
}

function auxiliaries(graph: Graph, modules: readonly LinearModule[]): ReadonlySet<string> {
  const names = (node: Node) => inputsBesideWeights(node).flatMap((at) => node.inputs[at] ?? []);
  return new Set([
    ...graph.nodes.flatMap(names),
    ...modules.flatMap(({ scales, zeroPoints }) => [scales ?? "", zeroPoints ?? ""]),
  ]);
}
