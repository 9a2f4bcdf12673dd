/** Constant, ConstantOfShape, EyeLike and Range: values that depend on no data. */
import { BadInputError } from "../errors.ts";
import { intAttribute, tensorAttribute } from "../graph/attributes.ts";
import type { Known } from "../graph/builder.ts";
import { dataTypeOf, ONNX_TYPE } from "../graph/dtype.ts";
import { asDims, entriesOf, holdsWholes } from "../graph/extents.ts";
import { derived, isAtMost, minus } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { elementCount, float32, int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { label, required, requiredExtents, unsupported } from "./args.ts";
import { exactNumbers, fitting, folded, rearranged } from "./fold.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** Attributes are doubles, in which the largest 64-bit integer rounds up to one that does not fit. */
function wholes(dims: readonly number[], values: readonly number[]): Tensor {
  return int64(dims, values.map((value) => value >= 2 ** 63 ? 2n ** 63n - 1n : BigInt(value)));
}

function contents(node: Node): Tensor {
  for (const [name, attribute] of Object.entries(node.attributes)) {
    switch (attribute.kind) {
      case "tensor":
        return attribute.value;
      case "int":
        return wholes([], [attribute.value]);
      case "ints":
        return wholes([attribute.value.length], attribute.value);
      case "float":
        return float32([], [attribute.value]);
      case "floats":
        return float32([attribute.value.length], attribute.value);
      default:
        throw unsupported(node, `graft does not read attribute "${name}"`);
    }
  }
  throw new BadInputError(`${label(node)} needs an attribute with its value: it has none`);
}

/**
 * The graph with its Constant nodes turned into initializers, which they are in effect.
 *
 * @throws {UnsupportedError} if one holds what graft does not read
 */
export function constantsAsInitializers(graph: Graph): Graph {
  const isConstant = ({ opType, domain }: Node) => opType === "Constant" && domain === "";
  const constants = graph.nodes.filter(isConstant);
  if (constants.length === 0) return graph;
  const made = constants.map((node) => [node.outputs[0], contents(node)] as const);
  return {
    ...graph,
    nodes: graph.nodes.filter((node) => !isConstant(node)),
    initializers: new Map([...graph.initializers, ...made]),
  };
}

export const Constant: OpRule = {
  opType: "Constant",
  domain: "",
  since: 7,
  attributes: ["value", "value_float", "value_floats", "value_int", "value_ints"],
  inputs: "0",
  outputs: "1",
  traits: mixed("other"),
  infer(node) {
    const value = contents(node);
    return [{ dtype: value.dtype, dims: value.dims, value }];
  },
};

export const ConstantOfShape: OpRule = {
  opType: "ConstantOfShape",
  domain: "",
  since: 9,
  attributes: ["value"],
  inputs: "1",
  outputs: "1",
  traits: mixed("shape"),
  infer(node, inputs) {
    const dims = asDims(requiredExtents(node, inputs, 0, "input"));
    const value = tensorAttribute(node, "value") ?? float32([1], [0]);
    return [
      folded(
        value.dtype,
        dims,
        [],
        () => rearranged(value, dims, new Uint32Array(elementCount(dims))),
      ),
    ];
  },
};

/** Ones on a diagonal of a matrix shaped like the input, whose contents do not matter. */
export const EyeLike: OpRule = {
  opType: "EyeLike",
  domain: "",
  since: 9,
  attributes: ["dtype", "k"],
  inputs: "1",
  outputs: "1",
  traits: mixed("shape"),
  infer(node, inputs) {
    const like = required(node, inputs, 0);
    const { dims } = like;
    if (dims.length !== 2) throw new RangeError(`${label(node)}: [${dims}] is no matrix`);
    const type = intAttribute(node, "dtype", ONNX_TYPE[like.dtype]);
    const dtype = dataTypeOf(type);
    if (dtype === undefined) throw unsupported(node, `there is no type with number ${type}`);
    const diagonal = intAttribute(node, "k", 0);
    return [
      folded(dtype, dims, [], () => {
        const [rows, columns] = dims;
        const ones = Array.from(
          { length: rows * columns },
          (_, i) => Number(i % columns - Math.floor(i / columns) === diagonal),
        );
        return fitting(dtype, dims, ones);
      }),
    ];
  },
};

/** Number of values from start to limit in steps of delta. */
function rangeLength(node: Node, inputs: readonly Known[]): Extent {
  const [start, limit, delta] = inputs.map(({ value }): Extent => {
    if (value === undefined) throw unsupported(node, "its length is computed from data");
    return entriesOf(value)?.[0] ?? toNumbers(value)[0];
  });
  if (delta === 1 && holdsWholes(inputs[0].dtype)) {
    return isAtMost(limit, start) ? 0 : minus(limit, start);
  }
  const count = (from: number, to: number, step: number) =>
    Math.max(0, Math.ceil((to - from) / step));
  return derived("range", [start, limit, delta], count);
}

export const Range: OpRule = {
  opType: "Range",
  domain: "",
  since: 11,
  attributes: [],
  inputs: "3",
  outputs: "1",
  traits: mixed("other"),
  infer(node, inputs) {
    const bounds = [0, 1, 2].map((i) => required(node, inputs, i));
    const dims = asDims([rangeLength(node, bounds)]);
    return [
      folded(bounds[0].dtype, dims, bounds, ([start, , delta]) => {
        const from = exactNumbers(start)?.[0];
        const step = exactNumbers(delta)?.[0];
        if (from === undefined || step === undefined) return undefined;
        const values = Array.from({ length: dims[0] }, (_, i) => from + i * step);
        return fitting(bounds[0].dtype, dims, values);
      }),
    ];
  },
};
