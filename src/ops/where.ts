/** Where: elements of one of two values. */
import { byteLength, isFloating } from "../graph/dtype.ts";
import { elementCount, toNumbers } from "../graph/tensor.ts";
import { required, sameType } from "./args.ts";
import { broadcastDims, reduceTo, scalarLike } from "./broadcast.ts";
import { broadcastStrides, foldedFrom, sourceIndices } from "./fold.ts";
import { elementwise, type Scratch } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** Each branch is first blended with the condition, and then both with each other. */
const branches: Scratch = (node, values) => {
  const [{ dims: condition }, ...both] = node.inputs.map((input) => values.known(input));
  return both.map(({ dtype, dims }) =>
    byteLength(dtype, elementCount(broadcastDims(condition, dims)))
  );
};

export const Where: OpRule = {
  opType: "Where",
  domain: "",
  since: 9,
  attributes: [],
  inputs: "3",
  outputs: "1",
  traits: { ...elementwise("other", "cheap"), scratch: branches },
  infer(node, inputs) {
    const [condition, x, y] = [0, 1, 2].map((i) => required(node, inputs, i));
    const dtype = sameType(node, [x, y]);
    const dims = broadcastDims(condition.dims, x.dims, y.dims);
    return [foldedFrom(dtype, dims, [x, y], () => {
      const truth = toNumbers(condition.value!);
      const [at, first, second] = [condition, x, y].map((operand) =>
        sourceIndices(dims, broadcastStrides(operand.dims, dims))
      );
      const offset = elementCount(x.dims);
      return Array.from(at, (from, i) => truth[from] !== 0 ? first[i] : offset + second[i]);
    }, [condition])];
  },
  /** Selects, never multiplies: what was not selected may be infinite or NaN. */
  vjp(b, node, [ct], wanted) {
    const [condition, x, y] = node.inputs;
    if (!isFloating(b.known(x).dtype)) return [undefined, undefined, undefined];
    const zero = scalarLike(b, ct!, 0);
    return [
      undefined,
      wanted[1] ? reduceTo(b, b.op("Where", [condition, ct!, zero]), b.dims(x)) : undefined,
      wanted[2] ? reduceTo(b, b.op("Where", [condition, zero, ct!]), b.dims(y)) : undefined,
    ];
  },
};
