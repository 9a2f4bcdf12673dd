import { assertEquals, assertThrows } from "@std/assert";
import { BadInputError, UsageError } from "../../src/errors.ts";
import { selectFiles } from "../../src/hub/select.ts";
import { chooseVariant, variantsOf } from "../../src/hub/variants.ts";

/** As onnx-community's repositories have it. */
const WEB = [
  ".gitattributes",
  "README.md",
  "LICENSE",
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "model.safetensors",
  "model.safetensors.index.json",
  ...["", "_fp16", "_int8", "_quantized", "_uint8", "_q4", "_q4f16", "_bnb4"].map((suffix) =>
    `onnx/model${suffix}.onnx`
  ),
  "onnx/model.onnx_data",
  "onnx/model_q4.onnx_data",
  "onnx/model_q4.onnx_data_1",
  "onnx/model_q4f16.onnx_data",
];

const ENCODER = WEB.filter((path) => path !== "generation_config.json");

Deno.test("variantsOf() names models by their suffix, or their folder", () => {
  assertEquals(variantsOf(WEB).map(({ name }) => name).sort(), [
    "bnb4",
    "fp16",
    "int8",
    "model",
    "q4",
    "q4f16",
    "quantized",
    "uint8",
  ]);
  const genai = ["cpu-int4/model.onnx", "cpu-int4/genai_config.json", "cuda-fp16/model.onnx"];
  assertEquals(variantsOf(genai).map(({ name }) => name), ["cpu-int4", "cuda-fp16"]);
  const twice = ["a/x/model.onnx", "b/x/model.onnx"];
  assertEquals(variantsOf(twice).map(({ name }) => name), twice);
});

Deno.test("chooseVariant() takes int4 for a language model, int8 for an encoder", () => {
  assertEquals(chooseVariant(WEB, undefined, "it")?.path, "onnx/model_q4.onnx");
  assertEquals(chooseVariant(ENCODER, undefined, "it")?.path, "onnx/model_int8.onnx");
});

Deno.test("chooseVariant() takes what a CPU runs, a whole model, and what there is", () => {
  const chosen = (...paths: string[]) => chooseVariant(paths, undefined, "it")?.path;
  assertEquals(chosen("cuda-int4/model.onnx", "cpu-fp32/model.onnx"), "cpu-fp32/model.onnx");
  assertEquals(chosen("onnx/decoder_model_q4.onnx", "onnx/model.onnx"), "onnx/model.onnx");
  assertEquals(
    chosen("onnx/model_qint8_avx512.onnx", "onnx/model_O2.onnx", "onnx/model.onnx"),
    "onnx/model_qint8_avx512.onnx",
  );
  assertEquals(
    chosen(
      "onnx/decoder_model_merged_quantized.onnx",
      "onnx/decoder_model_quantized.onnx",
      "onnx/decoder_with_past_model_quantized.onnx",
    ),
    "onnx/decoder_model_quantized.onnx",
  );
  assertEquals(chosen("model_fp16.onnx"), "model_fp16.onnx");
  assertEquals(chosen("model.safetensors"), undefined);
});

Deno.test("chooseVariant() takes names, paths and storages, and lists what there is", () => {
  assertEquals(chooseVariant(WEB, "q4f16", "it")?.path, "onnx/model_q4f16.onnx");
  assertEquals(chooseVariant(WEB, "onnx/model.onnx", "it")?.path, "onnx/model.onnx");
  assertEquals(chooseVariant(WEB, "fp32", "it")?.path, "onnx/model.onnx");
  assertThrows(() => chooseVariant(WEB, "q2", "org/it"), UsageError, 'no variant "q2"; it has ');
});

Deno.test("selectFiles() takes the model with its data, tokenizer, configuration and licence", () => {
  const { paths, variant } = selectFiles(WEB, {}, "it");
  assertEquals(variant?.name, "q4");
  assertEquals([...paths].sort(), [
    "LICENSE",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "onnx/model_q4.onnx",
    "onnx/model_q4.onnx_data",
    "onnx/model_q4.onnx_data_1",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
});

Deno.test("selectFiles() follows --include and --exclude", () => {
  assertEquals(selectFiles(WEB, { include: ["*.md", "token*"], exclude: ["*_config*"] }, "it"), {
    paths: ["README.md", "tokenizer.json"],
  });
  const more = selectFiles(WEB, { variant: "int8", include: ["README.md"] }, "it").paths;
  assertEquals(more.includes("README.md") && more.includes("onnx/model_int8.onnx"), true);
  assertThrows(() => selectFiles(WEB, { include: ["*.gguf"] }, "it"), UsageError, "*.gguf");
});

Deno.test("selectFiles() takes an adapter without pickles, and says where there is nothing to use", () => {
  const adapter = ["README.md", "adapter_config.json", "adapter_model.safetensors"];
  assertEquals(selectFiles(adapter, {}, "it").paths, adapter.slice(1));
  const pickle = ["adapter_config.json", "adapter_model.bin"];
  assertThrows(() => selectFiles(pickle, {}, "it"), BadInputError, "no pickles");
  assertThrows(() => selectFiles(["model.safetensors"], {}, "it"), BadInputError, "no ONNX model");
});
