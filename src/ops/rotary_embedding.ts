/**
 * RotaryEmbedding of operator set 23. ONNX Runtime's own operator of that name does the same in releases
 * without operator set 23, so training lowers to it.
 */
import { int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { sizedTensor } from "../graph/extents.ts";
import { times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { int64 } from "../graph/tensor.ts";
import { label } from "./args.ts";
import { range } from "./axes.ts";
import { inferLikeInput } from "./like_input.ts";
import type { OpRule } from "./types.ts";

/**
 * Without positions the caches hold one row per token, [B, T, half], or [1, T, half] for all sequences as
 * PyTorch exports them: emits positions that number those rows.
 */
function numbered(b: GraphBuilder, batch: Extent, tokens: Extent, cos: string, sin: string) {
  const [sequences, , half] = b.shape(cos);
  const each = sequences === 1 ? 0 : 1;
  const numbers = (batch: number, tokens: number) => {
    const rows = range(batch).flatMap((i) => range(tokens).map((t) => each * i * tokens + t));
    return int64([batch, tokens], rows).bytes;
  };
  const name = each === 0 ? "the same rows for each sequence" : "rows of each sequence";
  const table = [times(sequences, tokens), half];
  return [
    b.constant(sizedTensor(name, "int64", [batch, tokens], [batch, tokens], numbers)),
    b.reshape(cos, table),
    b.reshape(sin, table),
  ];
}

export const RotaryEmbedding: OpRule = {
  opType: "RotaryEmbedding",
  domain: "",
  since: 23,
  attributes: ["interleaved", "num_heads", "rotary_embedding_dim"],
  inputs: "3..4",
  outputs: "1",
  traits: { kind: "other", rows: "mixed" },
  infer: inferLikeInput,
  /** X is [B, heads, T, size] or [B, T, heads·size]. */
  lower(b, node) {
    const [x, cos, sin] = node.inputs;
    const [shape, dims] = [b.shape(x), b.dims(x)];
    const heads = dims.length === 4 ? dims[1] : intAttribute(node, "num_heads", 0);
    const tokens = shape[shape.length - 2];
    if (dims.length === 3 && (heads < 1 || dims[2] % heads !== 0)) {
      throw new RangeError(
        `${label(node)}: num_heads must divide ${dims[2]}: current value is ${heads}`,
      );
    }
    const [positions, cosines, sines] = node.inputs[3]
      ? [node.inputs[3], cos, sin]
      : numbered(b, shape[0], tokens, cos, sin);
    return [
      b.microsoft("RotaryEmbedding", [x, positions, cosines, sines], {
        interleaved: int(intAttribute(node, "interleaved", 0)),
        num_heads: int(heads),
        rotary_embedding_dim: int(intAttribute(node, "rotary_embedding_dim", 0)),
      }),
    ];
  },
};
