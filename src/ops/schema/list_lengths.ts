/**
 * Checks inputs that list sizes, axes or positions, one for each dimension: ONNX Runtime infers a shape
 * from them when it creates a session, and a few nodes can make a list of millions.
 *
 * Source: the schemas of ONNX 1.23.
 */
import { type Node, operatorName } from "../../graph/types.ts";
import { MOST_DIMENSIONS, type PartialShape } from "./shape_rules.ts";

/** A list: its position among the inputs, and its entries for each dimension. */
type List = readonly [position: number, perDimension: number];

const LISTS: ReadonlyMap<string, readonly List[]> = new Map<string, readonly List[]>([
  ...names("ConstantOfShape", [0, 1]),
  ...names("Reshape Expand Tile Unsqueeze Squeeze Upsample CenterCropPad AffineGrid", [1, 1]),
  ...names("ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin", [1, 1]),
  ...names("ReduceProd ReduceSum ReduceSumSquare", [1, 1]),
  ...names("Slice", [1, 1], [2, 1], [3, 1], [4, 1]),
  ...names("Pad", [1, 2], [3, 1]),
  ...names("Resize", [1, 2], [2, 1], [3, 1]),
]);

function names(operators: string, ...lists: readonly List[]) {
  return operators.split(" ").map((name) => [name, lists] as const);
}

/**
 * Describes the first list of a node that is for more dimensions than a value can have. Lists whose length
 * is only known at run time are skipped.
 *
 * @param shapes of the values of the node's graph
 */
export function listProblem(
  node: Node,
  shapes: ReadonlyMap<string, PartialShape>,
): string | undefined {
  for (const [position, perDimension] of LISTS.get(operatorName(node)) ?? []) {
    const value = node.inputs[position] ?? "";
    const length = shapes.get(value)?.[0];
    if (length === undefined || length <= perDimension * MOST_DIMENSIONS) continue;
    return `input ${position} must be a list for at most ${MOST_DIMENSIONS} dimensions: ` +
      `"${value}" has ${length} entries`;
  }
  return undefined;
}
