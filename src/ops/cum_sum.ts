/** CumSum: running sums along an axis. The transpose of a running sum runs the other way. */
import { int, intAttribute } from "../graph/attributes.ts";
import { elementCount } from "../graph/tensor.ts";
import { required, requiredInts } from "./args.ts";
import { normalizeAxis } from "./axes.ts";
import { exactNumbers, fitting, folded, stridesOf } from "./fold.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

export const CumSum: OpRule = {
  opType: "CumSum",
  domain: "",
  since: 11,
  attributes: ["exclusive", "reverse"],
  inputs: "2",
  outputs: "1",
  traits: mixed("other"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const { dtype, dims } = x;
    const axis = normalizeAxis(node, requiredInts(node, inputs, 1, "axis")[0], dims.length);
    const exclusive = intAttribute(node, "exclusive", 0) === 1;
    const reverse = intAttribute(node, "reverse", 0) === 1;
    return [
      folded(dtype, dims, [x], (values) => {
        const numbers = exactNumbers(values[0]);
        if (numbers === undefined) return undefined;
        const [stride, count] = [stridesOf(dims)[axis], dims[axis]];
        const out = new Array<number>(elementCount(dims)).fill(0);
        const order = out.map((_, i) => reverse ? out.length - 1 - i : i);
        for (const i of order) {
          const at = Math.floor(i / stride) % count;
          const first = at === (reverse ? count - 1 : 0);
          const before = reverse ? i + stride : i - stride;
          // The sum up to and including the neighbour, then this element unless it is excluded.
          const earlier = first ? 0 : out[before] + (exclusive ? numbers[before] : 0);
          out[i] = exclusive ? earlier : earlier + numbers[i];
        }
        return fitting(dtype, dims, out);
      }),
    ];
  },
  vjp: (b, node, [ct]) => [
    b.op("CumSum", [ct!, node.inputs[1]], {
      exclusive: int(intAttribute(node, "exclusive", 0)),
      reverse: int(1 - intAttribute(node, "reverse", 0)),
    }),
    undefined,
  ],
};
