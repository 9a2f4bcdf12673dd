import { assert } from "@std/assert";
import { join } from "@std/path";
import { float32 } from "../../src/graph/tensor.ts";
import { encodeModelChunks, encodeModelWithExternalData } from "../../src/onnx/mod.ts";
import { measureRewrite, type Rewrite } from "../helpers/measured_rewrite.ts";
import { graphOf } from "../helpers/lora_graphs.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";
import { sampled } from "../helpers/sampled.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const LAYERS = 64;
const FEATURES = 512;

/** A chain of linear layers in float32, 64 MiB. */
function largeModel() {
  const values = Float32Array.from({ length: FEATURES * FEATURES }, (_, i) => (i * 37) % 19 - 9);
  const layers = Array.from({ length: LAYERS }, (_, i) => i);
  const nodes = layers.map((i): TinyNode => {
    return ["MatMul", [i === 0 ? "x" : `h${i}`, `w${i}`], [i === LAYERS - 1 ? "y" : `h${i + 1}`]];
  });
  const weights = layers.map((i) => [`w${i}`, float32([FEATURES, FEATURES], values)]);
  return graphOf(nodes, Object.fromEntries(weights));
}

function write(path: string, chunks: readonly Uint8Array[]): void {
  using file = Deno.openSync(path, { write: true, create: true });
  for (const chunk of chunks) {
    for (let done = 0; done < chunk.length;) done += file.writeSync(chunk.subarray(done));
  }
}

const PLACES: Readonly<Record<string, (folder: string) => void>> = {
  "in the model file": (folder) =>
    write(join(folder, "model.onnx"), encodeModelChunks(largeModel())),
  "beside it": (folder) => {
    const { model, data } = encodeModelWithExternalData(largeModel(), "model.onnx.data");
    write(join(folder, "model.onnx"), [model]);
    write(join(folder, "model.onnx.data"), data);
  },
};

const WAYS: Readonly<Record<string, Rewrite["how"]>> = { merge: "nearest", quantize: "quantize" };

for (const [i, [where, write]] of Object.entries(PLACES).entries()) {
  for (const [verb, how] of sampled(Object.entries(WAYS), i)) {
    Deno.test(`graft ${verb} adds less memory than half a file with its weights ${where}`, () =>
      inTempDir(async (folder) => {
        write(folder);
        const { anonymousBytes, sizeBytes } = await measureRewrite({
          model: folder,
          how,
          targetModules: ["all-linear"],
          tokens: 0,
        });
        assert(sizeBytes > 2 ** 26);
        assert(anonymousBytes > 0, "nothing was watched");
        assert(anonymousBytes < sizeBytes / 2, `${anonymousBytes} bytes beside ${sizeBytes}`);
      }));
  }
}

/** As many layers over tokens; nothing grows from one to the next. */
function tokenModel() {
  const { graph } = largeModel();
  const table = float32(
    [64, FEATURES],
    Float32Array.from({ length: 64 * FEATURES }, (_, i) => i % 7),
  );
  const layers = Array.from({ length: LAYERS }, (_, i) => i);
  return tinyModel({
    inputs: { input_ids: ["int64", ["batch", "length"]] },
    outputs: { y: ["float32", ["batch", "length", FEATURES]] },
    nodes: [
      ["Gather", ["table", "input_ids"], ["x0"]],
      ...layers.flatMap((i): TinyNode[] => [
        ["MatMul", [`x${i}`, `w${i}`], [`p${i}`]],
        ["Tanh", [`p${i}`], [i === LAYERS - 1 ? "y" : `x${i + 1}`]],
      ]),
    ],
    initializers: { table, ...Object.fromEntries(graph.initializers) },
  });
}

Deno.test("graft merge that collects activations adds less memory than the file", () =>
  inTempDir(async (folder) => {
    const { model, data } = encodeModelWithExternalData(tokenModel(), "model.onnx.data");
    write(join(folder, "model.onnx"), [model]);
    write(join(folder, "model.onnx.data"), data);
    const { anonymousBytes, sizeBytes } = await measureRewrite({
      model: folder,
      how: "compensated",
      targetModules: ["all-linear"],
      tokens: 384,
    });
    assert(anonymousBytes < 0.8 * sizeBytes, `${anonymousBytes} bytes beside ${sizeBytes}`);
  }));
