/** What products with quantised weights share: their shape, and weights' parameters per column. */
import type { GraphBuilder } from "../../graph/builder.ts";
import { int } from "../../graph/attributes.ts";
import { elementCount } from "../../graph/tensor.ts";
import { type Node, operatorName } from "../../graph/types.ts";

/** Shape of a matrix product as NumPy's `matmul` has it, for operands of at least 2 dimensions. */
export function matMulDims(
  node: Node,
  a: readonly number[],
  b: readonly number[],
): readonly number[] {
  const fail = (): never => {
    throw new RangeError(
      `Operands of ${operatorName(node)} "${node.name}" do not fit: shapes are [${a}] and [${b}]`,
    );
  };
  if (a.length < 2 || b.length < 2 || a.at(-1) !== b.at(-2)) fail();
  const rank = Math.max(a.length, b.length);
  const stacked = Array.from({ length: rank - 2 }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) fail();
    return x === 1 ? y : x;
  });
  return [...stacked, a.at(-2)!, b.at(-1)!];
}

/**
 * Float weights from integers quantised per tensor or per column.
 *
 * @param weight int8 or uint8, [..., K, N]
 * @param scale [] or [1] or [N]
 * @param zeroPoint [] or [1] or [N], of the weight's type
 * @returns [..., K, N]
 */
export function dequantizedColumns(
  b: GraphBuilder,
  weight: string,
  scale: string,
  zeroPoint: string | undefined,
): string {
  const dims = b.dims(weight);
  const columns = dims.at(-1)!;
  const perColumn = [scale, zeroPoint].some((name) =>
    name !== undefined && elementCount(b.dims(name)) > 1
  );
  const parameter = (name: string): string => {
    const flat = b.reshape(name, perColumn ? [elementCount(b.dims(name))] : []);
    if (!perColumn || b.dims(flat)[0] === columns) return flat;
    return b.op("Expand", [flat, b.int64s([columns])]);
  };
  const inputs = [weight, parameter(scale)];
  if (zeroPoint !== undefined) inputs.push(parameter(zeroPoint));
  return b.op("DequantizeLinear", inputs, { axis: int(dims.length - 1) });
}
