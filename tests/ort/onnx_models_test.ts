import { assert, assertEquals } from "@std/assert";
import type { Tensor } from "../../src/graph/tensor.ts";
import { graphProblem } from "../../src/graph/verify.ts";
import { formatGraph } from "../../src/graph/print.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { encodeModel, encodeModelChunks, encodeModelWithExternalData } from "../../src/onnx/mod.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { headSizeOf, modelFolders, smallFeeds } from "../helpers/model_folders.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { runPython } from "../helpers/run_python.ts";

async function outputsOf(runner: Runner, path: string, feeds: Record<string, Tensor>) {
  // Unoptimised: what is compared is the graphs as they were written, and loading is quick.
  using executable = await runner.load(path, { optimization: "disabled" });
  const uploaded = Object.fromEntries(
    Object.entries(feeds).map(([name, tensor]) => [name, runner.upload(tensor)]),
  );
  const fetched = await executable.run(uploaded);
  return Object.entries(fetched).map(([name, tensor]) => {
    using held = tensor;
    return [name, held.read()] as const;
  });
}

async function writeChunks(path: string, chunks: readonly Uint8Array[]): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true });
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.byteLength;) {
      at += await file.write(chunk.subarray(at, at + (1 << 20)));
    }
  }
}

/** The model as files of another folder, its tensors from 64 bytes on in a data file. */
async function writeExternal(path: string, folder: string): Promise<string> {
  using loaded = loadOnnx(path);
  const { model, data } = encodeModelWithExternalData(loaded.model, "weights", { threshold: 64 });
  await Deno.writeFile(`${folder}/model.onnx`, model);
  await writeChunks(`${folder}/weights`, data);
  return `${folder}/model.onnx`;
}

for (const [name, folder] of modelFolders()) {
  Deno.test(`encodeModel() gives back the bytes of ${name}`, () => {
    const path = `${folder}/model.onnx`;
    using loaded = loadOnnx(path);
    const file = Deno.readFileSync(path);
    const encoded = encodeModel(loaded.model);
    assertEquals(encoded.byteLength, file.byteLength);
    assert(encoded.every((byte, i) => byte === file[i]), "bytes differ");
    assertEquals(graphProblem(loaded.model.graph), undefined);
    const lines = formatGraph(loaded.model.graph).split("\n");
    assert(lines.length > loaded.model.graph.nodes.length);
  });

  Deno.test(`encodeModelWithExternalData() of ${name} computes the same bits in ORT`, async () => {
    const folder2 = await Deno.makeTempDir();
    try {
      const path = `${folder}/model.onnx`;
      using loaded = loadOnnx(path);
      const feeds = smallFeeds(loaded.model, headSizeOf(folder));
      const moved = await writeExternal(path, folder2);
      using again = loadOnnx(moved);
      for (const [key, { dtype, dims, bytes }] of loaded.model.graph.initializers) {
        const tensor = again.model.graph.initializers.get(key)!;
        assertEquals([tensor.dtype, tensor.dims], [dtype, dims]);
        assert(tensor.bytes.every((byte, i) => byte === bytes[i]), `${key} differs`);
      }
      using runner = createOrtRunner({ threads: 1 });
      const expected = await outputsOf(runner, path, feeds);
      assertEquals(await outputsOf(runner, moved, feeds), expected);
      assert(
        expected.every(([, tensor]) => tensor.bytes.byteLength > 0 || tensor.dims.includes(0)),
      );
    } finally {
      await Deno.remove(folder2, { recursive: true });
    }
  });

  testWithPython(
    ["onnx"],
    `encodeModelWithExternalData() of ${name} is the same model to Python's onnx`,
    async () => {
      const folder2 = await Deno.makeTempDir();
      try {
        const moved = await writeExternal(`${folder}/model.onnx`, folder2);
        const differences = await runPython(
          `
import sys, onnx
from onnx import numpy_helper
first, second = (onnx.load(path) for path in sys.argv[1:3])
for a, b in zip(first.graph.initializer, second.graph.initializer, strict=True):
    x, y = (numpy_helper.to_array(t) for t in (a, b))
    if a.name != b.name or x.dtype != y.dtype or x.tobytes() != y.tobytes(): print(a.name)
for model in (first, second):
    del model.graph.initializer[:]
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                data = numpy_helper.to_array(attribute.t).tobytes()
                attribute.t.Clear()
                attribute.t.raw_data = data
if first != second: print("model")
`,
          [`${folder}/model.onnx`, moved],
        );
        assertEquals(differences, "");
      } finally {
        await Deno.remove(folder2, { recursive: true });
      }
    },
  );
}

/** Memory of this process that belongs to no file. */
const anonymousBytes = () =>
  1024 * Number(/RssAnon:\s+(\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))![1]);

Deno.test("loading a model and writing it anew takes less memory than half of its weights", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const weightBytes = 1 << 27;
    const path = `${folder}/model.onnx`;
    using small = loadOnnx(`${modelFolders().get("tiny-bert-torch-fp32")}/model.onnx`);
    const { graph } = small.model;
    const large: Tensor = {
      dtype: "uint8",
      dims: [weightBytes],
      bytes: new Uint8Array(weightBytes),
    };
    const initializers = new Map(graph.initializers).set("large", large);
    const model = { ...small.model, graph: { ...graph, initializers } };
    await writeChunks(path, encodeModelChunks(model));
    const before = anonymousBytes();
    using loaded = loadOnnx(path);
    const inline = encodeModelChunks(loaded.model);
    const external = encodeModelWithExternalData(loaded.model, "weights");
    const encoded = anonymousBytes();
    await writeChunks(`${folder}/again.onnx`, inline);
    await writeChunks(`${folder}/weights`, external.data);
    const written = anonymousBytes();
    assert(Math.max(encoded, written) - before < weightBytes / 2, `${[before, encoded, written]}`);
    assertEquals(Deno.statSync(`${folder}/again.onnx`).size, Deno.statSync(path).size);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
