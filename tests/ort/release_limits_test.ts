/** What the oldest supported ONNX Runtime lacks is said in words that help. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { BadInputError, RuntimeFailure } from "../../src/errors.ts";
import { float, int, ints } from "../../src/graph/attributes.ts";
import { float32, tensor } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { encodeModel } from "../../src/onnx/mod.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { isBefore, releaseLimit } from "../../src/runtime/release_limits.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";
import { oldestOrt } from "../helpers/oldest_ort.ts";

const oldest = await oldestOrt();
if ("skipped" in oldest) console.log(`skipped: limits of the oldest ORT: ${oldest.skipped}`);
const ortLib = "path" in oldest ? oldest.path : "";

/** x [2, 32] through one node. */
function model(node: TinyNode, more: Partial<Model> = {}): Model {
  const tiny = tinyModel({
    inputs: { x: ["float32", [2, 32]] },
    outputs: { y: ["float32", [2, 32]] },
    nodes: [node],
    initializers: {
      w: tensor("uint8", [32, 1, 32], new Uint8Array(1024).fill(130)),
      s: float32([32], new Array(32).fill(0.1)),
    },
  });
  return { ...tiny, ...more };
}

const relu = (more: Partial<Model>) => model(["Relu", ["x"], ["y"]], more);
const fourBits = tinyModel({
  inputs: {},
  outputs: { y: ["float32", [2]] },
  nodes: [["DequantizeLinear", ["q", "one"], ["y"]]],
  initializers: { q: tensor("int4", [2], new Uint8Array([0x21])), one: float32([], [1]) },
});
const booleans = tinyModel({
  inputs: { x: ["bool", [2, 2]] },
  outputs: { y: ["bool", [2, 2]] },
  nodes: [["Trilu", ["x"], ["y"]]],
});

const CASES: Readonly<Record<string, readonly [Model, string]>> = {
  "a later opset": [
    relu({ opsets: { "": 22 } }),
    "has opsets of ai.onnx up to 21: the model's is 22",
  ],
  "a later IR version": [
    relu({ irVersion: 11 }),
    "reads files of ONNX's IR version up to 10: the model's is 11",
  ],
  "more inputs": [
    model(["Relu", ["x", "x"], ["y"]]),
    'gives Relu at most 1 inputs: node "node0" has 2',
  ],
  "an attribute": [
    model(["com.microsoft.BiasGelu", ["x", "s"], ["y"], { softcap: float(1) }]),
    'gives BiasGelu no attribute "softcap": node "node0" has it',
  ],
  "an operator of Microsoft's": [
    model(["com.microsoft.GatherBlockQuantized", ["w", "x", "s"], ["y"]]),
    "has no operator com.microsoft.GatherBlockQuantized",
  ],
  "an operator": [
    model(["RMSNormalization", ["x", "s"], ["y"]]),
    "has no operator RMSNormalization in opset 21",
  ],
  "a kernel": [booleans, 'has no kernel of Trilu for the types of node "node0"'],
  "an element type": [fourBits, "has no tensors of int4"],
  "MatMulNBits of 8 bits": [
    model(["com.microsoft.MatMulNBits", ["x", "w", "s"], ["y"], {
      K: int(32),
      N: int(32),
      bits: int(8),
      block_size: int(32),
    }]),
    "has MatMulNBits with 4 bits only; 8 came with 1.22.0",
  ],
};

for (const [what, [model, limit]] of Object.entries(CASES)) {
  Deno.test({
    name: `Runner.load() on the oldest ORT says that a release lacks ${what}`,
    ignore: "skipped" in oldest,
    async fn() {
      const file = Deno.makeTempFileSync({ suffix: ".onnx" });
      try {
        const bytes = encodeModel(model, { external: () => "inline" });
        Deno.writeFileSync(file, bytes as Uint8Array<ArrayBuffer>);
        using runner = createOrtRunner({ ortLib, logLevel: "fatal" });
        const { message } = await assertRejects(() => runner.load(file), RuntimeFailure);
        assertEquals(
          message,
          `Cannot compile "${file}": ONNX Runtime 1.18.0 at "${ortLib}" ${limit}: point ortLib ` +
            "or GRAFT_ORT_LIB at a release that supports the model, or leave both out for " +
            "the included one",
        );
      } finally {
        Deno.removeSync(file);
      }
    },
  });
}

Deno.test("Runner.compile() of an operator that no release has names it and the library that graft brings", async () => {
  using runner = createOrtRunner();
  const nothing = model(["com.microsoft.Nothing", ["x"], ["y"]]);
  const { message } = await assertRejects(() => runner.compile(nothing), RuntimeFailure);
  assertStringIncludes(message, "has no operator com.microsoft.Nothing: point ortLib");
  assert(message.endsWith("at a release that supports the model"), message);
});

Deno.test("Runner.compile() of a node with an attribute of another operator set says that the model is wrong", async () => {
  using runner = createOrtRunner({ logLevel: "fatal" });
  const wrong = model(["Relu", ["x"], ["y"], { axes: ints([1]) }]);
  const { message } = await assertRejects(() => runner.compile(wrong), BadInputError);
  assertStringIncludes(
    message,
    'node "node0" has the attribute "axes", which Relu does not have in the file\'s operator set',
  );
});

Deno.test("releaseLimit() leaves alone what is no matter of a release", () => {
  const few =
    'In Node, ("n", Add, "", -1) : Error Node (n) has input size 1 not in range [min=2, max=2]';
  for (const message of ["Protobuf parsing failed", few]) {
    assertEquals(releaseLimit(message), undefined);
  }
});

Deno.test("isBefore() orders releases by all their parts", () => {
  assert(isBefore([1, 18, 0], [1, 22, 0]));
  assert(isBefore([1, 22, 0], [1, 22, 1]));
  assert(!isBefore([1, 22, 0], [1, 22, 0]));
  assert(!isBefore([2, 0, 0], [1, 22, 0]));
});
