/** Adapters that can be told apart. */
import { modelDigest } from "../../src/lora/digest.ts";
import type { AdapterCard } from "../../src/lora/adapter_card.ts";
import type { Adapter } from "../../src/lora/adapter_files.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { modelDir, readModel, referenceDir } from "./fixture_models.ts";
import { floats } from "./lora_graphs.ts";

/** An adapter whose tensors all hold one number, so that versions can be told apart. */
export function adapterVersion(value: number): Adapter & { card: AdapterCard } {
  const { adapter } = loadAdapter(`${referenceDir("tiny-bert-fp32.qv")}/adapter_init`);
  const filled = (...dims: number[]) => {
    const tensor = floats(...dims);
    new Float32Array(tensor.bytes.buffer).fill(value);
    return tensor;
  };
  return {
    ...adapter,
    lora: new Map(
      [...adapter.lora].map((
        [path, { a, b }],
      ) => [path, { a: filled(...a.dims), b: filled(...b.dims) }]),
    ),
    head: { weight: filled(5, 64), bias: filled(5) },
    card: {
      baseDigest: modelDigest(readModel(modelDir("tiny-bert-torch-fp32"))),
      task: "classification",
      labels: ["a", "b", "c", "d", "e"],
      pooling: "mean",
      config: {},
    },
  };
}

/** The number of the adapter in a folder; `undefined` where its head and its matrices differ. */
export function versionIn(directory: string): number | undefined {
  const { adapter } = loadAdapter(directory);
  const first = (bytes: Uint8Array) =>
    new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
  const [pair] = adapter.lora.values();
  const version = first(pair.a.bytes);
  return first(adapter.head!.bias.bytes) === version ? version : undefined;
}
