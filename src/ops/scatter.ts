/** ScatterElements and ScatterND: a copy of data with elements replaced or added to. */
import { int, intAttribute, stringAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { unsupported } from "./args.ts";
import { zeros } from "./broadcast.ts";
import { inferLikeInput } from "./like_input.ts";
import { mixed, type Traits } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** Whether updates are added; refuses mul, min and max. */
function adds(node: Node): boolean {
  const reduction = stringAttribute(node, "reduction", "none");
  if (reduction === "none" || reduction === "add") return reduction === "add";
  throw unsupported(node, `it supports reduction "none" and "add": current value is ${reduction}`);
}

function scatter(
  opType: string,
  own: readonly string[],
  memory: Traits["memory"],
  attributes: (node: Node) => Record<string, ReturnType<typeof int>>,
  gather: (b: GraphBuilder, node: Node, ct: string) => string,
): OpRule {
  return {
    opType,
    domain: "",
    since: 11,
    attributes: [...own, "reduction"],
    inputs: "3",
    outputs: "1",
    remark: 'reductions "none" and "add"',
    traits: { ...mixed("scatter"), memory },
    infer: inferLikeInput,
    /** If updates replace elements, their indices must not repeat (ONNX's own condition). */
    vjp(b, node, [ct], wanted) {
      const [, indices, updates] = node.inputs;
      const kept = () => {
        if (adds(node) || b.shape(updates).includes(0)) return ct!;
        const none = zeros(b, b.known(ct!).dtype, b.dims(updates));
        return b.op(opType, [ct!, indices, none], attributes(node));
      };
      adds(node);
      return [
        wanted[0] ? kept() : undefined,
        undefined,
        wanted[2] ? gather(b, node, ct!) : undefined,
      ];
    },
  };
}

const axisOf = (node: Node) => ({ axis: int(intAttribute(node, "axis", 0)) });

export const ScatterElements = scatter(
  "ScatterElements",
  ["axis"],
  "in place",
  axisOf,
  (b, node, ct) => b.op("GatherElements", [ct, node.inputs[1]], axisOf(node)),
);

export const ScatterND = scatter(
  "ScatterND",
  [],
  "own",
  () => ({}),
  (b, node, ct) => b.op("GatherND", [ct, node.inputs[1]]),
);
