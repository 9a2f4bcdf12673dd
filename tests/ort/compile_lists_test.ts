// ONNX Runtime's shape inference reads what a protobuf holds, and nothing that lies outside it.
import { assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { encodeModelWithExternalData } from "../../src/onnx/mod.ts";
import { openMapped } from "../../src/system/mapped_file.ts";
import { float32, int64, type Tensor, tensor } from "../../src/graph/tensor.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";

const PARTS = 300;
const parts = Array.from({ length: PARTS }, (_, i) => `part${i}`);
const sizes = int64([PARTS], parts.map((_, i) => 1 + i % 2));
const ELEMENTS = PARTS + PARTS / 2;

/** The first and the last of the parts that `sizes` cut from `x`, joined. */
const split = (sizes: Tensor) =>
  tinyModel({
    inputs: { x: ["float32", [ELEMENTS]] },
    outputs: { y: ["float32", [3]] },
    initializers: { sizes },
    nodes: [
      ["Split", ["x", "sizes"], parts] as TinyNode,
      ["Concat", [parts[0], parts[PARTS - 1]], ["y"], { axis: { kind: "int", value: 0 } }],
    ],
  });

async function joinsEnds(sizes: Tensor) {
  using runner = createOrtRunner({ threads: 1 });
  using executable = await runner.compile(split(sizes));
  using x = runner.upload(float32([ELEMENTS], Array.from({ length: ELEMENTS }, (_, i) => i)));
  const { y } = await executable.run({ x });
  assertEquals(y.read(), float32([3], [0, ELEMENTS - 2, ELEMENTS - 1]));
}

Deno.test("compile() of a Split into more than 128 parts computes them", () => joinsEnds(sizes));

Deno.test("compile() of a Split into more than 128 parts computes them from a mapped file", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, sizes.bytes);
    using file = openMapped(path);
    await joinsEnds(tensor("int64", [PARTS], file.bytes));
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("encodeModelWithExternalData() leaves a Split into more than 128 parts runnable", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { model, data } = encodeModelWithExternalData(split(sizes), "model.onnx.data");
    await Deno.writeFile(`${folder}/model.onnx`, model);
    await Deno.writeFile(`${folder}/model.onnx.data`, ReadableStream.from(data));
    using runner = createOrtRunner({ threads: 1 });
    using executable = await runner.load(`${folder}/model.onnx`);
    assertEquals(executable.outputNames, ["y"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
