/** Dropout at inference: the identity. graft has its own dropout, in adapters only. */
import { toNumbers } from "../graph/tensor.ts";
import { required, unsupported } from "./args.ts";
import type { OpRule } from "./types.ts";

export const Dropout: OpRule = {
  opType: "Dropout",
  domain: "",
  since: 7,
  // Both concern training only.
  attributes: ["ratio", "seed"],
  inputs: "1..3",
  outputs: "1..2",
  remark: "inference: the identity",
  traits: { kind: "random", rows: "mixed" },
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    return [x, { dtype: "bool" as const, dims: x.dims }].slice(0, node.outputs.length);
  },
  lower(b, node, { needed }) {
    const training = node.inputs[2] ? b.known(node.inputs[2]) : undefined;
    if (training !== undefined && (training.value === undefined || toNumbers(training.value)[0])) {
      throw unsupported(node, `its input "training_mode" must be the constant false`);
    }
    if (needed[1]) throw unsupported(node, "its output mask is used");
    return [node.inputs[0], ""];
  },
};
