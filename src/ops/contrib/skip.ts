/** What the normalisations of a residual sum share. */
import { asDims, extentsOf } from "../../graph/extents.ts";
import type { OpRule } from "../types.ts";
import { requiredKnown } from "./support.ts";

/** Outputs: the normalised sum, its mean, its 1/√(variance + ε), and the sum itself. */
export const inferSkip: OpRule["infer"] = (node, inputs) => {
  const { dtype, dims } = requiredKnown(node, "input", inputs, 0);
  const statistics = {
    dtype: "float32" as const,
    dims: asDims([...extentsOf(dims).slice(0, -1), 1]),
  };
  return [{ dtype, dims }, statistics, statistics, { dtype, dims }];
};
