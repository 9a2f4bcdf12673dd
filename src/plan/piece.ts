/** A call's graph as the planning passes see it, before its values get canonical names. */
import type { Extent } from "../graph/size.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";

/** Nodes in topological order, with the values that they read and compute. */
export interface Piece {
  readonly nodes: readonly Node[];
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Shape of each value. */
  readonly dims: (name: string) => readonly Extent[];
}

/** Whether a node multiplies rounded rows by a weight in integers. */
export function isRoundedProduct({ opType }: Node): boolean {
  return opType === "MatMulIntegerToFloat";
}
