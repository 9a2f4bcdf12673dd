/** Padding masks of com.microsoft.Attention and MultiHeadAttention as additive masks. */
import { int } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { sizedTensor } from "../../graph/extents.ts";
import { areEqual, times } from "../../graph/extent_arithmetic.ts";
import type { Extent } from "../../graph/size.ts";
import { ascending, int32 } from "../../graph/tensor.ts";
import type { Node } from "../../graph/types.ts";
import { castTo } from "../cast.ts";
import { scalarOf } from "../broadcast.ts";
import { refuse, shared } from "./support.ts";

/** ONNX Runtime's default for `mask_filter_value`. */
export const MASK_FILTER = -10000;

/** 0, 1, …, keys - 1 as [1, keys]. */
function keyPositions(b: GraphBuilder, keys: Extent): string {
  const bytesOf = (count: number) => ascending(count).bytes;
  const positions = sizedTensor("ascending", "int32", [1, keys], [keys], bytesOf);
  return b.constant(positions, "key_positions");
}

/** Which keys a mask shows, bool [B, 1 or T, L]. */
function visibleKeys(
  b: GraphBuilder,
  node: Node,
  input: string,
  mask: string,
  batch: Extent,
  keys: Extent,
): string {
  const shape = b.shape(mask);
  const ints = castTo(b, mask, "int32");
  const column = (value: string) => b.reshape(value, [batch, 1]);
  if (shape.length === 1 && areEqual(shape[0], batch)) {
    const before = b.op("Less", [keyPositions(b, keys), column(ints)]);
    return b.reshape(before, [batch, 1, keys]);
  }
  if (shape.length === 1 && areEqual(shape[0], times(2, batch))) {
    const [ends, starts] = b.ops("Split", [ints, b.int64s([batch, batch])], 2, { axis: int(0) });
    const before = b.op("Less", [keyPositions(b, keys), column(ends)]);
    const from = b.op("GreaterOrEqual", [keyPositions(b, keys), column(starts)]);
    return b.reshape(b.op("And", [before, from]), [batch, 1, keys]);
  }
  const shown = () => b.op("Greater", [ints, b.constant(int32([], [0]))]);
  if (shape.length === 2 && areEqual(shape[1], keys)) {
    return b.reshape(shown(), [shape[0], 1, keys]);
  }
  if (shape.length === 3 && areEqual(shape[2], keys)) return shown();
  return refuse(node, `input "${input}" of shape [${shape}]`);
}

/**
 * An additive mask for {@linkcode attend}, made once per graph for all layers that read it.
 *
 * @param input the mask's name in the operator's schema
 * @param mask int32: [B] visible lengths; [2·B] ends and starts; [B, L] or [B, T, L] where 0 hides
 * @param filter the number added to hidden scores
 * @returns [B, 1, 1 or T, 1, L]
 */
export function paddingMask(
  b: GraphBuilder,
  node: Node,
  options: {
    readonly input: string;
    readonly mask: string;
    readonly batch: Extent;
    readonly keys: Extent;
    readonly filter: number;
  },
): string {
  const { input, mask, batch, keys, filter } = options;
  return shared(b, `padding ${mask} ${filter}`, () => {
    const visible = visibleKeys(b, node, input, mask, batch, keys);
    const [zero, hidden] = [scalarOf(b, "float32", 0), scalarOf(b, "float32", filter)];
    const added = b.op("Where", [visible, zero, hidden]);
    const [rows, tokens] = b.shape(added);
    return b.reshape(added, [rows, 1, tokens, 1, keys]);
  });
}
