/** What a training step has to do at least, read off its plan: matrix products, and passes over memory. */
import { byteLength } from "../../src/graph/dtype.ts";
import type { Known } from "../../src/graph/builder.ts";
import { elementCount } from "../../src/graph/tensor.ts";
import type { Graph, Node } from "../../src/graph/types.ts";
import { intAttribute } from "../../src/graph/attributes.ts";
import { graphAt, knownValues } from "../../src/plan/call_graph.ts";
import type { Schedule } from "../../src/plan/schedule.ts";

/** A part of a batch. */
type Part = Pick<Schedule, "calls" | "sizes">;

/** A matrix product with the very types, shapes and attributes that a step computes. */
export interface Product {
  readonly node: Pick<Node, "opType" | "domain" | "attributes">;
  /** `undefined` is an input that is left out. */
  readonly inputs: readonly (Known | undefined)[];
  /** Times that a step computes it. */
  readonly count: number;
  /** Multiplications and additions of one. */
  readonly flops: number;
}

export interface StepWork {
  readonly products: readonly Product[];
  /** Bytes that all other nodes read and write. */
  readonly passBytes: number;
  /** Bytes of the mean tensor that those nodes write. */
  readonly meanBytes: number;
}

const PRODUCTS = new Set(
  "MatMul FusedMatMul Gemm MatMulInteger MatMulIntegerToFloat".split(" "),
);

/** Operators that only rename what they read. */
const VIEWS = new Set("Reshape Squeeze Unsqueeze Flatten Identity".split(" "));

/** Operators that read no more of an input than they write. */
const LOOKUPS = new Set("Gather GatherBlockQuantized GatherND Slice Split".split(" "));

/** @param parts of a step; where nothing is computed again, each product is there once */
export function stepWork(parts: readonly Part[]): StepWork {
  const products = new Map<string, Product>();
  let [passBytes, written, passes] = [0, 0, 0];
  for (const [graph, times] of parts.flatMap(countedGraphs)) {
    const known = knownValues(graph);
    const of = (name: string) => name === "" ? undefined : known.known(name);
    for (const node of graph.nodes) {
      if (VIEWS.has(node.opType)) continue;
      const inputs = node.inputs.map(of);
      const outputs = node.outputs.flatMap((name) => of(name) ?? []);
      // Rotations before rounding multiply by a matrix of the graph's own: the model asks for none.
      if (PRODUCTS.has(node.opType) && !graph.initializers.has(node.inputs[1])) {
        const key = JSON.stringify([node.opType, attributesOf(node), inputs.map(typeOf)]);
        const before = products.get(key)?.count ?? 0;
        const flops = 2 * elementCount(outputs[0].dims) * innerSize(node, inputs[0]!);
        products.set(key, { node, inputs, count: before + times, flops });
        continue;
      }
      const writes = sum(outputs.map(bytesOf));
      const most = LOOKUPS.has(node.opType) ? writes : Infinity;
      const reads = sum(inputs.map((input) => input ? Math.min(most, bytesOf(input)) : 0));
      passBytes += times * (reads + writes);
      written += times * writes;
      passes += times;
    }
  }
  return { products: [...products.values()], passBytes, meanBytes: written / passes };
}

/** Floating-point operations of all products. */
export function flopsOf({ products }: StepWork): number {
  return sum(products.map(({ flops, count }) => flops * count));
}

/** Each different graph with the times it is called. */
function countedGraphs({ calls, sizes }: Part): readonly (readonly [Graph, number])[] {
  const alike = Map.groupBy(calls, ({ graph }) => graph);
  return [...alike.values()].map((same) => [graphAt(same[0], sizes), same.length] as const);
}

/** Length of the sums that a product's entries are. */
function innerSize(node: Node, { dims }: Known): number {
  return intAttribute(node, "transA", 0) === 1 ? dims.at(-2)! : dims.at(-1)!;
}

const attributesOf = ({ attributes }: Node) =>
  Object.keys(attributes).sort().map((name) => [name, String(attributes[name].value)]);

const typeOf = (value: Known | undefined) => value && `${value.dtype}[${value.dims}]`;
const bytesOf = ({ dtype, dims }: Known) => byteLength(dtype, elementCount(dims));
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
