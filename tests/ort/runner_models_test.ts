import { assertEquals } from "@std/assert";
import { byteLength, type DataType } from "../../src/graph/dtype.ts";
import { elementCount, type Tensor, tensor } from "../../src/graph/tensor.ts";
import { decodeModel, type ExternalRef } from "../../src/onnx/mod.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { type MappedFile, openMapped } from "../../src/system/mapped_file.ts";

const MODELS = new URL("../fixtures/models/", import.meta.url).pathname;

/** A batch of one, four tokens, nothing in the cache. */
function size(dim: number | string): number {
  if (typeof dim === "number") return dim;
  if (dim === "past_sequence_length") return 0;
  if (dim === "kv_cache_dim") return 16;
  return dim.includes("batch") ? 1 : 4;
}

/** Ones for token ids and masks; the empty cache has no elements. */
function ones(dtype: DataType, dims: readonly number[]): Tensor {
  const count = elementCount(dims);
  const bytes = new Uint8Array(byteLength(dtype, count));
  if (dtype === "int64") new BigInt64Array(bytes.buffer).fill(1n);
  return tensor(dtype, dims, bytes);
}

for (
  const name of [
    "tiny-llama-genai-int4",
    "tiny-llama-genai-fp32",
    "tiny-llama-torch-fp32",
    "tiny-bert-torch-fp32",
    "tiny-bert-dynamic-int8",
  ]
) {
  Deno.test(`compile() of the decoded ${name} computes what load() of its file does`, async () => {
    const folder = `${MODELS}${name}`;
    const files = new Map<string, MappedFile>();
    const bytesOf = (file: string): Uint8Array => {
      if (!files.has(file)) files.set(file, openMapped(`${folder}/${file}`));
      return files.get(file)!.bytes;
    };
    const external = ({ location, offset, length }: ExternalRef) =>
      bytesOf(location).subarray(offset, offset + length);
    using runner = createOrtRunner({ threads: 2 });
    using loaded = await runner.load(`${folder}/model.onnx`);
    using compiled = await runner.compile(decodeModel(bytesOf("model.onnx"), { external }));
    const feeds = Object.fromEntries(loaded.inputs.map(({ name, type }) => [
      name,
      runner.upload(ones(type!.dtype, type!.shape!.map(size))),
    ]));
    const expected = await loaded.run(feeds);
    const actual = await compiled.run(feeds);
    assertEquals(Object.keys(actual), Object.keys(expected));
    for (const output of loaded.outputNames) {
      assertEquals(actual[output].read(), expected[output].read());
    }
    for (const file of files.values()) file[Symbol.dispose]();
  });
}
