import { concat } from "@std/bytes/concat";
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import {
  decodeModel,
  encodeModel,
  encodeModelChunks,
  encodeModelWithExternalData,
  type ExternalRef,
} from "../../src/onnx/mod.ts";
import { entry, everythingModel, fileOf, message, smallModel } from "../helpers/onnx_messages.ts";

/** Two tensors in `weights.bin`, the second at an offset and with a checksum of its own. */
function externalFile(): { file: Uint8Array; data: Uint8Array } {
  const place = (...entries: [string, string][]) => ({
    dataType: 1,
    dataLocation: 1,
    externalData: entries.map(([key, value]) => entry(key, value)),
  });
  const file = fileOf(smallModel({
    initializer: [
      message("TensorProto", { name: "w", dims: [2n], ...place(["location", "weights.bin"]) }),
      message("TensorProto", {
        name: "v",
        dims: [3n],
        ...place(["location", "weights.bin"], ["offset", "8"], ["length", "12"], ["checksum", "x"]),
      }),
    ],
  }));
  return { file, data: new Uint8Array(Float32Array.of(1, 2, 3, 4, 5).buffer) };
}

const reader = (data: Uint8Array, asked: ExternalRef[] = []) => (ref: ExternalRef) => {
  asked.push(ref);
  return data.subarray(ref.offset, ref.offset + ref.length);
};

Deno.test("decodeModel() asks for external data once a tensor and takes it as a view", () => {
  const { file, data } = externalFile();
  const asked: ExternalRef[] = [];
  const { initializers } = decodeModel(file, { external: reader(data, asked) }).graph;
  assertEquals(asked, [
    { location: "weights.bin", offset: 0, length: 8 },
    { location: "weights.bin", offset: 8, length: 12 },
  ]);
  assertEquals(Array.from(toNumbers(initializers.get("v")!)), [3, 4, 5]);
  assertStrictEquals(initializers.get("v")!.bytes.buffer, data.buffer);
});

Deno.test("decodeModel() refuses external data that ends early, naming the tensor", () => {
  const { file, data } = externalFile();
  assertThrows(
    () => decodeModel(file, { external: reader(data.subarray(0, 16)) }),
    BadInputError,
    '"v": "weights.bin" has 8 of its 12 bytes at 8',
  );
});

Deno.test("encodeModel() keeps the external place of an untouched tensor, and none of a changed one", () => {
  const { file, data } = externalFile();
  const model = decodeModel(file, { external: reader(data) });
  assertEquals(encodeModel(model), file);
  const initializers = new Map(model.graph.initializers).set("w", float32([2], [8, 9]));
  const again = encodeModel({ ...model, graph: { ...model.graph, initializers } });
  const asked: ExternalRef[] = [];
  const decoded = decodeModel(again, { external: reader(data, asked) });
  assertEquals(asked.map(({ offset }) => offset), [8]);
  assertEquals(Array.from(toNumbers(decoded.graph.initializers.get("w")!)), [8, 9]);
});

Deno.test("encodeModel() moves tensors into the model and out of it as asked", () => {
  const { file, data } = externalFile();
  const model = decodeModel(file, { external: reader(data) });
  const inline = encodeModel(model, { external: () => "inline" });
  assertEquals(
    Array.from(toNumbers(decodeModel(inline).graph.initializers.get("v")!)),
    [3, 4, 5],
  );
  const refs: Record<string, ExternalRef> = { w: { location: "a", offset: 4, length: 8 } };
  const moved = encodeModel(decodeModel(inline), { external: (name) => refs[name] });
  const asked: ExternalRef[] = [];
  decodeModel(moved, { external: reader(data, asked) });
  assertEquals(asked, [refs.w]);
});

Deno.test("encodeModelWithExternalData() stores initializers from the threshold on, and what was stored", () => {
  const file = everythingModel();
  const kept = [entry("location", "old"), entry("offset", "8"), entry("length", "8")];
  // A tensor attribute whose data lies in a file already; the other attributes' lie inside.
  file.graph!.node[1].attribute[4].t = message("TensorProto", {
    dataType: 1,
    dims: [2n],
    dataLocation: 1,
    externalData: kept,
  });
  const old = new Uint8Array(Float32Array.of(0, 0, 6, 7).buffer);
  const source = decodeModel(fileOf(file), { external: reader(old) });
  const { model, data } = encodeModelWithExternalData(source, "m.data", { threshold: 8 });
  const all: Uint8Array = concat(data);
  const asked: ExternalRef[] = [];
  const again = decodeModel(model, { external: reader(all, asked) });
  // "w" and "typed" and the attribute; text, and what lay inside other places, stays.
  assertEquals(asked.map(({ length }) => length), [8, 8, 8]);
  const { tensor } = again.graph.nodes.find(({ name }) => name === "every")!.attributes;
  assertEquals(Array.from(toNumbers(tensor.value as Tensor)), [6, 7]);
  assert(asked.every(({ location, offset }) => location === "m.data" && offset % 64 === 0));
  for (const [name, tensor] of source.graph.initializers) {
    assertEquals(again.graph.initializers.get(name), tensor);
  }
  // Moved back inside, nothing but where the numbers lay has changed.
  const inline = decodeModel(encodeModel(again, { external: () => "inline" }));
  assertEquals(inline.graph.nodes.length, source.graph.nodes.length);
  assertEquals(inline.graph.initializers, source.graph.initializers);
});

Deno.test("encodeModelWithExternalData() begins large tensors on pages and copies none", () => {
  const model = decodeModel(fileOf(smallModel()));
  const large = float32([1 << 18], new Float32Array(1 << 18));
  const medium = float32([512], new Float32Array(512).fill(1));
  const initializers = new Map(model.graph.initializers)
    .set("medium", medium).set("large", large).set("again", large);
  const encoded = encodeModelWithExternalData(
    { ...model, graph: { ...model.graph, initializers } },
    "m.data",
  );
  assertEquals(encoded.data.map(({ byteLength }) => byteLength), [2048, 2048, 1 << 20]);
  assertStrictEquals(encoded.data[0], medium.bytes);
  assertStrictEquals(encoded.data[2], large.bytes);
});

Deno.test("encodeModelChunks() gives large initializers as views", () => {
  const model = decodeModel(fileOf(smallModel()));
  const large = float32([1 << 16], new Float32Array(1 << 16));
  const initializers = new Map(model.graph.initializers).set("large", large);
  const changed = { ...model, graph: { ...model.graph, initializers } };
  const chunks = encodeModelChunks(changed);
  assert(chunks.includes(large.bytes));
  const file = encodeModel(changed);
  const size = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
  assertEquals(size, file.byteLength);
  assertEquals(decodeModel(file).graph.initializers.get("large"), large);
});
