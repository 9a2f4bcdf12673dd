/** `.onnx_adapter`: read, and written again. */
import { float32 } from "../../../../src/graph/tensor.ts";
import { decodeOnnxAdapter, encodeOnnxAdapter } from "../../../../src/lora/onnx_adapter.ts";
import { type HostileFormat, lazily } from "../format.ts";
import { damaged } from "../mutators/bytes.ts";

const TOKENS = ["TORT", "TORA", "__proto__", "constructor", "\0\0\0\0", "\xff\xff\xff\xff", "\x7f"];

const seed = (layers: number, rank: number) =>
  encodeOnnxAdapter({
    modelVersion: layers,
    tensors: new Map(
      Array.from({ length: layers }, (_, layer) =>
        [
          [`layers.${layer}.A`, float32([1, 8, rank], new Float32Array(8 * rank).fill(layer))],
          [`layers.${layer}.B`, float32([1, rank, 6], new Float32Array(6 * rank).fill(-layer))],
        ] as const).flat(),
    ),
  });

export const ONNX_ADAPTER: HostileFormat = {
  name: "onnx_adapter",
  seeds: lazily(() => [seed(1, 1), seed(3, 4), seed(12, 0)]),
  mutate: (random, seeds) => damaged(seeds, TOKENS, random),
  probe(file) {
    encodeOnnxAdapter(decodeOnnxAdapter(file, "the file"));
  },
};
