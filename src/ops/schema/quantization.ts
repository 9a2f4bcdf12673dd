/** Inputs of operators that hold scales, zero points or tables that are never trained, not weights. */
import { MICROSOFT, type Node, operatorName } from "../../graph/types.ts";

interface Positions {
  readonly scales: readonly number[];
  /** The zero point of what is rounded at run time comes first, if there is one. */
  readonly zeroPoints: readonly number[];
}

const QUANTIZATION: ReadonlyMap<string, Positions> = new Map(
  ([
    ["", "DequantizeLinear QuantizeLinear", [1], [2]],
    ["", "MatMulInteger ConvInteger", [], [2, 3]],
    ["", "QLinearMatMul QLinearConv", [1, 4, 6], [2, 5, 7]],
    [MICROSOFT, "DequantizeLinear QuantizeLinear", [1], [2]],
    [MICROSOFT, "DynamicQuantizeMatMul GatherBlockQuantized MatMulNBits", [2], [3]],
    [MICROSOFT, "MatMulBnb4", [2], []],
    [MICROSOFT, "MatMulIntegerToFloat", [2, 3], [4, 5]],
  ] as const).flatMap(([domain, operators, scales, zeroPoints]) =>
    operators.split(" ").map((opType): [string, Positions] => [
      operatorName({ domain, opType }),
      { scales, zeroPoints },
    ])
  ),
);

/** Cosines and sines by position. */
const ROTARY_TABLES: ReadonlyMap<string, readonly number[]> = new Map([
  ["RotaryEmbedding", [1, 2]],
  ["com.microsoft.RotaryEmbedding", [2, 3]],
  ["com.microsoft.GroupQueryAttention", [7, 8]],
]);

/** Positions of the scales among a node's inputs. */
export function scaleInputs(node: Node): readonly number[] {
  return QUANTIZATION.get(operatorName(node))?.scales ?? [];
}

/** Positions of the zero points among a node's inputs. */
export function zeroPointInputs(node: Node): readonly number[] {
  return QUANTIZATION.get(operatorName(node))?.zeroPoints ?? [];
}

/** Positions of a node's inputs that are not weights: scales, zero points, rotary tables. */
export function inputsBesideWeights(node: Node): readonly number[] {
  const tables = ROTARY_TABLES.get(operatorName(node)) ?? [];
  return [...scaleInputs(node), ...zeroPointInputs(node), ...tables];
}
