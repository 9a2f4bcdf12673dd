/** The binary formats of {@linkcode FORMATS}: how their mutants are made and read. */
import { BadInputError } from "../../src/errors.ts";
import { formatGraph } from "../../src/graph/print.ts";
import { decodeModel, encodeModel } from "../../src/onnx/mod.ts";
import { decodeSafetensors, encodeSafetensors } from "../../src/safetensors/mod.ts";
import type { HostileFormat } from "./hostile.ts";
import { damaged } from "./mutants.ts";
import { everythingModel, fileOf } from "./onnx_messages.ts";
import { otherModel } from "./onnx_mutants.ts";

const FIXTURES = new URL("../fixtures/", import.meta.url).pathname;

/** Read when first needed: tests of one format should not read the others' files. */
function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}

const onnxSeeds = lazily(() => [
  fileOf(everythingModel()),
  ...["tiny-llama-genai-int4", "tiny-llama-torch-fp32", "tiny-bert-dynamic-int8"].map((name) =>
    Deno.readFileSync(`${FIXTURES}models/${name}/model.onnx`)
  ),
]);

const externalData = lazily(() =>
  Deno.readFileSync(`${FIXTURES}models/tiny-llama-genai-int4/model.onnx.data`)
);

export const HOSTILE_ONNX: HostileFormat = {
  name: "onnx",
  mutant: (random) =>
    random(2) === 0 ? damaged(onnxSeeds(), [], random) : otherModel(onnxSeeds(), random),
  parse(file) {
    const model = decodeModel(file, {
      external({ offset, length }) {
        if (offset + length > externalData().byteLength) throw new BadInputError("past the end");
        return externalData().subarray(offset, offset + length);
      },
    });
    encodeModel(model);
    formatGraph(model.graph);
  },
};

const safetensorsSeeds = lazily(() =>
  [
    "models/tiny-bert-hf/model.safetensors",
    "reference/tiny-llama-int4.all/adapter_init/adapter_model.safetensors",
    "reference/tiny-bert-fp32.qv/adapter_init/adapter_model.safetensors",
  ].map((path) => Deno.readFileSync(FIXTURES + path))
);

export const HOSTILE_SAFETENSORS: HostileFormat = {
  name: "safetensors",
  mutant: (random) => {
    const tokens = [
      '"F32"',
      '"BF16"',
      '"F4"',
      '"shape":',
      '"data_offsets":[0,0],',
      '"__metadata__":{},',
      '"__proto__":{',
      "[[[[",
      "{",
      "}",
      ",",
      "-1",
      "1e400",
      "9007199254740993",
      "NaN",
      "null",
      "../",
      "\\u0000",
      "\\",
      '"',
    ];
    return damaged(safetensorsSeeds(), tokens, random);
  },
  parse(file) {
    const { tensors, metadata } = decodeSafetensors(file);
    encodeSafetensors(tensors, metadata);
  },
};
