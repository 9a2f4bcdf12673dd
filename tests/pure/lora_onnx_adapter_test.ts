import { assert, assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { decodeOnnxAdapter, encodeOnnxAdapter } from "../../src/lora/onnx_adapter.ts";
import { Random } from "../../src/random.ts";

const MADE = {
  modelVersion: 0x7ffffff0,
  tensors: new Map([
    ["layer.A", float32([1, 3, 2], [1, 2, 3, 4, 5, 6])],
    ["layer.B", float32([1, 2, 5], Array.from({ length: 10 }, (_, i) => -i / 3))],
    ["empty.A", float32([1, 4, 0], [])],
    ["__proto__", float32([], [7])],
  ]),
};

Deno.test("decodeOnnxAdapter() reads what encodeOnnxAdapter() writes", () => {
  const bytes = encodeOnnxAdapter(MADE);
  const { modelVersion, tensors } = decodeOnnxAdapter(bytes, "lamp.onnx_adapter");
  assertEquals(modelVersion, MADE.modelVersion);
  const plain = (all: typeof tensors) =>
    [...all].map(([name, { dims, bytes }]) => [name, dims, [...bytes]]);
  assertEquals(plain(tensors), plain(MADE.tensors));
});

Deno.test("decodeOnnxAdapter() refuses what is cut, damaged or something else, and names the file", () => {
  const bytes = encodeOnnxAdapter(MADE);
  for (let length = 0; length < bytes.length; length++) {
    // What is missing may be padding at the end.
    try {
      decodeOnnxAdapter(bytes.slice(0, length), "cut");
      assert(length > bytes.length - 8, `${length} of ${bytes.length} bytes`);
    } catch (error) {
      assert(error instanceof BadInputError && error.message.startsWith("cut: "), String(error));
    }
  }
  const random = Random.fromSeed(5);
  const draw = (most: number) => Math.floor(random.next() / 2 ** 32 * most);
  let refused = 0;
  for (let mutant = 0; mutant < 3000; mutant++) {
    const changed = bytes.slice();
    for (let i = 0; i < 1 + draw(4); i++) changed[draw(bytes.length)] = draw(256);
    try {
      decodeOnnxAdapter(changed, "mutant");
    } catch (error) {
      refused++;
      assert(error instanceof BadInputError, String(error));
    }
  }
  assert(refused > 500);
  const other = encodeOnnxAdapter({
    modelVersion: 1,
    tensors: new Map([["a", float32([2, 2], [1, 2, 3, 4])]]),
  });
  const wrong = other.slice();
  // 2 × 2 becomes 2 × 3.
  const dims = wrong.findIndex((byte, i) => byte === 2 && wrong[i + 8] === 2);
  wrong[dims + 8] = 3;
  assertThrows(() => decodeOnnxAdapter(wrong, "wrong"), BadInputError, "[2,3] does not take");
});
