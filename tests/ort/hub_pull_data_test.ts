import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { BadInputError } from "../../src/errors.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { encodeModelWithExternalData } from "../../src/onnx/mod.ts";
import { concat } from "@std/bytes/concat";
import { PLACEMENTS, REFUSED } from "../helpers/external_models.ts";
import { FakeHub } from "../helpers/fake_hub.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { TestCache } from "../helpers/hub_pull.ts";
import { entry, fileOf, floats, message, node, smallModel } from "../helpers/onnx_messages.ts";

type Files = Readonly<Record<string, Uint8Array<ArrayBuffer>>>;

/** Pulls a repository of these files; returns the folder of its snapshot. */
async function pulled(files: Files, check: (folder: string) => void): Promise<void> {
  await using hub = new FakeHub();
  using cache = new TestCache(hub);
  hub.add("org/tiny", files);
  try {
    check((await cache.pull({ include: [] })).folder);
  } catch (error) {
    assertEquals(cache.visible, []);
    throw error;
  }
}

/** A float32 tensor that claims its data is in a file. */
const inFile = (name: string, count: bigint, location: string) =>
  message("TensorProto", {
    name,
    dims: [count],
    dataType: 1,
    dataLocation: 1,
    externalData: [entry("location", location)],
  });

/** A model with one scale, which lies in `scales.data`. */
const withScale = fileOf(smallModel({
  initializer: [
    inFile("s", 1n, "scales.data"),
    message("TensorProto", { name: "q", dims: [2n], dataType: 3, rawData: new Uint8Array([1, 2]) }),
    floats("w", [2], [1, 2]),
  ],
  node: [
    node("DequantizeLinear", ["q", "s"], ["d"]),
    node("Add", ["x", "d"], ["y"]),
    node("Relu", ["y"], ["z"]),
  ],
})) as Uint8Array<ArrayBuffer>;

const bytesOf = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

Deno.test("pull() gets quantised models whose scales lie in a data file", async () => {
  using source = loadOnnx(join(modelDir("tiny-bert-dynamic-int8"), "model.onnx"));
  const { model, data } = encodeModelWithExternalData(source.model, "model.onnx_data", {
    threshold: 0,
  });
  const files = {
    "onnx/model.onnx": model as Uint8Array<ArrayBuffer>,
    "onnx/model.onnx_data": concat(data as Uint8Array<ArrayBuffer>[]),
  };
  await pulled(files, (folder) => {
    using loaded = loadOnnx(join(folder, "onnx/model.onnx"));
    assertEquals(loaded.files.length, 2);
  });
});

Deno.test("pull() gets the data files of tensors wherever they are in a model", async (t) => {
  for (const [placement, modelWith] of Object.entries(PLACEMENTS)) {
    await t.step(placement, () =>
      pulled({
        "model.onnx": fileOf(modelWith("./data//w")) as Uint8Array<ArrayBuffer>,
        "data/w": bytesOf(1, 2, 3, 4),
      }, (folder) => assert(Deno.statSync(join(folder, "data/w")).isFile)));
  }
});

Deno.test("pull() refuses a model whose data is not what it claims, and shows nothing of it", async (t) => {
  const claims = fileOf(smallModel({ initializer: [inFile("w", 2n ** 42n, "w")] }));
  const bad: [string, Files, string][] = [
    [
      "16 TiB of 8 bytes",
      { "model.onnx": claims as Uint8Array<ArrayBuffer>, "w": bytesOf(1, 2) },
      '"w" has 8 of its 17592186044416 bytes',
    ],
    ["16 TiB of nothing", { "model.onnx": claims as Uint8Array<ArrayBuffer> }, "does not have"],
    ["a scale of 0", { "model.onnx": withScale, "scales.data": bytesOf(0) }, "element 0 is 0"],
    ["a scale of NaN", { "model.onnx": withScale, "scales.data": bytesOf(NaN) }, "NaN"],
  ];
  for (const [name, files, words] of bad) {
    await t.step(name, () => assertRejects(() => pulled(files, () => {}), BadInputError, words));
  }
});

// PROMISES 12, for what a model of the hub names.
Deno.test(`pull() refuses ${REFUSED.length} ways out of the model's folder, and asks for no other file`, async () => {
  await using hub = new FakeHub();
  using cache = new TestCache(hub);
  for (const pattern of REFUSED) {
    const location = pattern.replaceAll("ROOT", "/tmp");
    hub.add("org/tiny", {
      "onnx/model.onnx": fileOf(PLACEMENTS.initializer(location)) as Uint8Array<ArrayBuffer>,
      "onnx/good": bytesOf(1, 2),
      "model/good": bytesOf(1, 2),
      "secret": bytesOf(1, 2),
    });
    await assertRejects(() => cache.pull({ include: [] }), BadInputError, "onnx/model.onnx");
    assertEquals(cache.visible, [], location);
    assertEquals(hub.seen.filter(({ path }) => /good|secret/.test(path)), [], location);
  }
});
