/** Shape inference of operators whose one output has the type and the shape of their first input. */
import type { OpRule } from "./types.ts";
import { required } from "./args.ts";

/** Type and shape of input number 0. */
export const inferLikeInput: OpRule["infer"] = (node, inputs) => {
  const { dtype, dims } = required(node, inputs, 0);
  return [{ dtype, dims }];
};
