/** Trilu: the upper or lower triangle of matrices. */
import { int, intAttribute } from "../graph/attributes.ts";
import type { Known } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { constantInts, label, required } from "./args.ts";
import { bitsOf } from "../graph/dtype.ts";
import { folded } from "./fold.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

const diagonal = (node: Node, inputs: readonly (Known | undefined)[]) =>
  constantInts(node, inputs, 1, "k")?.[0] ?? 0;

export const Trilu: OpRule = {
  opType: "Trilu",
  domain: "",
  since: 14,
  attributes: ["upper"],
  inputs: "1..2",
  outputs: "1",
  traits: mixed("other"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const { dtype, dims } = x;
    if (dims.length < 2) throw new RangeError(`${label(node)} needs matrices: it has [${dims}]`);
    const upper = intAttribute(node, "upper", 1) === 1;
    const k = diagonal(node, inputs);
    return [
      folded(dtype, dims, inputs, ([value]) => {
        const [rows, columns] = dims.slice(-2);
        const size = bitsOf(dtype) / 8;
        const bytes = value.bytes.slice();
        for (let i = 0; i < bytes.length / size; i++) {
          const offset = i % columns - Math.floor(i / columns) % rows;
          if (upper ? offset < k : offset > k) bytes.fill(0, i * size, (i + 1) * size);
        }
        return { dtype, dims, bytes };
      }),
    ];
  },
  vjp: (b, node, [ct]) => [
    b.op("Trilu", [ct!, ...node.inputs.slice(1)], {
      upper: int(intAttribute(node, "upper", 1)),
    }),
    undefined,
  ],
};
