/** Weights of products with parameters per column. */
import type { GraphBuilder } from "../../graph/builder.ts";
import { int } from "../../graph/attributes.ts";
import { shared } from "../contrib/support.ts";
import { elementCount } from "../../graph/tensor.ts";

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
  return shared(b, `dequantized ${JSON.stringify([weight, scale, zeroPoint])}`, () => {
    const inputs = [weight, parameter(scale)];
    if (zeroPoint !== undefined) inputs.push(parameter(zeroPoint));
    return b.op("DequantizeLinear", inputs, { axis: int(dims.length - 1) });
  });
}
