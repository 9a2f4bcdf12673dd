/** Where: elements of one of two values. */
import { byteLength, isFloating } from "../graph/dtype.ts";
import { elementCount, toNumbers } from "../graph/tensor.ts";
import { required, sameType } from "./args.ts";
import { broadcastDims, reduceTo, scalarLike } from "./broadcast.ts";
import { broadcastStrides, folded, rearranged, sourceIndices } from "./fold.ts";
import { elementwise, type Scratch } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** Either branch is blended with the condition first, and then both with each other. */
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
    return [folded(dtype, dims, [condition, x, y], ([test, first, second]) => {
      const truth = toNumbers(test);
      const at = sourceIndices(dims, broadcastStrides(test.dims, dims));
      const pick = [first, second].map((t) => sourceIndices(dims, broadcastStrides(t.dims, dims)));
      const whole = new Uint8Array(first.bytes.length + second.bytes.length);
      whole.set(first.bytes);
      whole.set(second.bytes, first.bytes.length);
      const offset = toNumbers(first).length;
      return rearranged(
        { dtype, dims: [], bytes: whole },
        dims,
        Array.from(at, (from, i) => truth[from] !== 0 ? pick[0][i] : offset + pick[1][i]),
      );
    })];
  },
  /** Selects, never multiplies: what was not selected may be infinite or not a number. */
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
