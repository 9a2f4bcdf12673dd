/** Cases of attention and rotary embeddings. */
import { float, int } from "../../../src/graph/attributes.ts";
import type { OpCase } from "../gradcheck.ts";
import { f, fc, typed } from "./inputs.ts";

const ATTENTION = { opType: "Attention", opset: 23, since: [1, 24] as const };
const ROTARY = { opType: "RotaryEmbedding", opset: 23, since: [1, 24] as const };

export const ATTENTION_CASES: readonly OpCase[] = [
  {
    ...ATTENTION,
    title: "four dimensions",
    inputs: [f([1, 2, 3, 2]), f([1, 2, 4, 2]), f([1, 2, 4, 3])],
  },
  {
    ...ATTENTION,
    title: "grouped queries in three dimensions, causal, softcap",
    inputs: [
      f([2, 3, 8]),
      f([2, 3, 4]),
      f([2, 3, 4]),
    ],
    attributes: {
      q_num_heads: int(4),
      kv_num_heads: int(2),
      is_causal: int(1),
      scale: float(0.7),
      softcap: float(2),
    },
  },
  {
    ...ATTENTION,
    title: "a Boolean mask",
    inputs: [
      f([1, 1, 2, 2]),
      f([1, 1, 3, 2]),
      f([1, 1, 3, 2]),
      typed("bool", [2, 3], [1, 0, 1, 1, 1, 0]),
    ],
  },
  {
    ...ATTENTION,
    title: "a float mask a head",
    inputs: [f([1, 2, 2, 2]), f([1, 2, 3, 2]), f([1, 2, 3, 2]), f([1, 2, 2, 3])],
  },
  {
    ...ROTARY,
    title: "halves, with positions",
    inputs: [
      f([2, 2, 3, 4]),
      fc([5, 2]),
      fc([5, 2]),
      typed("int64", [2, 3], [0, 1, 2, 2, 3, 4]),
    ],
  },
  {
    ...ROTARY,
    title: "interleaved, three dimensions, partial",
    attributes: {
      interleaved: int(1),
      num_heads: int(2),
      rotary_embedding_dim: int(2),
    },
    inputs: [f([1, 3, 8]), fc([3, 1]), fc([3, 1]), typed("int64", [1, 3], [0, 1, 2])],
  },
  {
    ...ROTARY,
    // ONNX Runtime runs such models, which PyTorch's exporter writes, at batch 1 alone.
    since: [2, 0],
    title: "caches that all sequences share",
    inputs: [f([2, 1, 3, 4]), fc([1, 3, 2]), fc([1, 3, 2])],
  },
  {
    ...ROTARY,
    title: "a row of the caches a token",
    inputs: [f([2, 1, 3, 4]), fc([2, 3, 2]), fc([2, 3, 2])],
  },
];
