import { assert, assertEquals, assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import { toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { float32, toBigInts, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node } from "../../src/graph/types.ts";
import { decodeModel, decodeStrings, encodeModel } from "../../src/onnx/mod.ts";
import { type Proto, type ProtoName, schemaOf } from "../../src/onnx/schema.ts";
import {
  everythingModel,
  fileOf,
  floats,
  message,
  node,
  packed,
  smallModel,
  value,
} from "../helpers/onnx_messages.ts";

const withGraph = (model: Model, change: Partial<Graph>): Model => ({
  ...model,
  graph: { ...model.graph, ...change },
});

/** All messages inside a message, itself included. */
function* messagesIn(root: object): Generator<Proto<ProtoName>> {
  if (root instanceof Uint8Array) return;
  if ("$typeName" in root) yield root as Proto<ProtoName>;
  for (const [key, child] of Object.entries(root)) {
    if (key !== "$unknown" && typeof child === "object" && child !== null) yield* messagesIn(child);
  }
}

Deno.test("everythingModel() uses every message of the schema", () => {
  const used = new Set([...messagesIn(everythingModel())].map(({ $typeName }) => $typeName));
  const model = schemaOf("ModelProto");
  const missing = model.file.messages.map(({ typeName }) => typeName)
    .filter((name) => !used.has(name as `onnx.${ProtoName}`));
  assertEquals(missing, ["onnx.TensorProto_Segment"]); // refused, see onnx_bad_input_test.ts
});

Deno.test("encodeModel() gives back the bytes of a file with everything in it", () => {
  const file = fileOf(everythingModel());
  assertEquals(encodeModel(decodeModel(file)), file);
});

Deno.test("encodeModel() keeps unknown fields in every message", () => {
  const model = everythingModel();
  let count = 0;
  for (const inner of new Set(messagesIn(model))) {
    const data = new BinaryWriter().string(`unknown ${count++}`).finish();
    inner.$unknown = [{ no: 4000, wireType: WireType.LengthDelimited, data }];
  }
  const file = fileOf(model);
  assert(count > 100);
  assertEquals(encodeModel(decodeModel(file)), file);
});

Deno.test("encodeModel() of a changed node keeps what the Graph type does not model", () => {
  const model = decodeModel(fileOf(everythingModel()));
  const nodes = model.graph.nodes.map((n): Node =>
    n.name === "every" ? { ...n, inputs: ["x"] } : n
  );
  const again = decodeModel(encodeModel(withGraph(model, { nodes })));
  const [before, after] = [model, again].map((
    { graph },
  ) => (graph.nodes.find(({ name }) => name === "every")!.rest as Proto<"NodeProto">));
  assertEquals(after.input, ["x"]);
  assertEquals({ ...after, input: [] }, { ...before, input: [] });
});

Deno.test("encodeModel() of a changed attribute writes the new value and keeps its description", () => {
  const model = decodeModel(fileOf(everythingModel()));
  const nodes = model.graph.nodes.map((n): Node =>
    n.name !== "every" ? n : {
      ...n,
      attributes: { ...n.attributes, float: { ...n.attributes.float, value: 2.5 } as never },
    }
  );
  const again = decodeModel(encodeModel(withGraph(model, { nodes })));
  const { attributes } = again.graph.nodes.find(({ name }) => name === "every")!;
  assertEquals(attributes.float.kind === "float" && attributes.float.value, 2.5);
  assertEquals((attributes.float.rest as Proto<"AttributeProto">).docString, "a float");
});

Deno.test("encodeModel() writes new attributes of every kind, and int64's end for numbers past it", () => {
  const model = decodeModel(fileOf(smallModel()));
  const attributes: Node["attributes"] = {
    int: { kind: "int", value: -3 },
    end: { kind: "int", value: 2 ** 63 },
    float: { kind: "float", value: 0.5 },
    string: { kind: "string", value: "hé" },
    ints: { kind: "ints", value: [1, 2] },
    floats: { kind: "floats", value: [0.25] },
    strings: { kind: "strings", value: ["a", ""] },
    tensor: { kind: "tensor", value: float32([1], [4]) },
    graph: { kind: "graph", value: model.graph },
  };
  const [first, ...others] = model.graph.nodes;
  const nodes = [{ ...first, attributes }, ...others];
  const [again] = decodeModel(encodeModel(withGraph(model, { nodes }))).graph.nodes;
  const plain = Object.fromEntries(
    Object.entries(again.attributes).map(([name, { kind, value }]) => [name, { kind, value }]),
  );
  assertEquals({ ...plain, graph: undefined }, { ...attributes, graph: undefined } as unknown);
  assertEquals((again.attributes.graph.value as Graph).nodes.map(({ name }) => name), [
    "add",
    "relu",
  ]);
  assertEquals((again.attributes.end.rest as Proto<"AttributeProto">).i, 2n ** 63n - 1n);
});

Deno.test("encodeModel() of a replaced initializer keeps its documentation, not its old data", () => {
  const model = decodeModel(fileOf(everythingModel()));
  const initializers = new Map(model.graph.initializers).set("typed", float32([3], [7, 8, 9]));
  const again = decodeModel(encodeModel(withGraph(model, { initializers })));
  const tensor = again.graph.initializers.get("typed")!;
  assertEquals(Array.from(toNumbers(tensor)), [7, 8, 9]);
  const { initializer } = again.graph.rest as Proto<"GraphProto">;
  const written = initializer.find(({ name }) => name === "typed")!;
  assertEquals([written.docString, written.floatData], ["in float_data", []]);
});

Deno.test("encodeModel() of one tensor under two names writes both", () => {
  const model = decodeModel(fileOf(smallModel()));
  const w = model.graph.initializers.get("w")!;
  const initializers = new Map([["v", w], ["w", w]]);
  const again = decodeModel(encodeModel(withGraph(model, { initializers })));
  assertEquals(again.graph.initializers.get("v")!.bytes, again.graph.initializers.get("w")!.bytes);
});

Deno.test("encodeModel() of a model made from nothing decodes to the same model", () => {
  const graph: Graph = {
    name: "new",
    inputs: [{ name: "x", type: { dtype: "float32", shape: ["batch", 2] } }],
    outputs: [{ name: "y", type: { dtype: "float32" } }],
    initializers: new Map([["w", float32([2], [1, 2])]]),
    nodes: [{
      name: "add",
      opType: "Add",
      domain: "",
      inputs: ["x", "w"],
      outputs: ["y"],
      attributes: {},
    }],
    valueInfo: new Map(),
  };
  const model: Model = { irVersion: 10, opsets: { "": 21 }, graph, metadata: { made: "here" } };
  const again = decodeModel(encodeModel(model));
  const withoutRest = JSON.parse(
    JSON.stringify(
      { ...again.graph, initializers: [...again.graph.initializers] },
      (key, value) => key === "rest" ? undefined : value,
    ),
  );
  assertEquals(
    withoutRest,
    JSON.parse(JSON.stringify({ ...graph, initializers: [...graph.initializers] })),
  );
  assertEquals([again.irVersion, again.opsets, again.metadata], [10, { "": 21 }, { made: "here" }]);
});

Deno.test('decodeModel() reads the domain "ai.onnx" as "", and it is written as it was', () => {
  const model = decodeModel(fileOf(everythingModel()));
  assertEquals(model.opsets, { "": 21, custom: 1 });
  const [add] = model.graph.nodes;
  assertEquals([add.opType, add.domain], ["Add", ""]);
  const again = decodeModel(encodeModel(withGraph(model, {
    nodes: [{ ...add, name: "renamed" }, ...model.graph.nodes.slice(1)],
  })));
  assertEquals((again.graph.nodes[0].rest as Proto<"NodeProto">).domain, "ai.onnx");
});

Deno.test("decodeModel() does not copy raw data", () => {
  const file = fileOf(smallModel());
  const tensor = decodeModel(file).graph.initializers.get("w")!;
  assertStrictEquals(tensor.bytes.buffer, file.buffer);
});

Deno.test("decodeModel() reads attributes and metadata named __proto__ as names like any other", () => {
  const model = decodeModel(fileOf(everythingModel()));
  const every = model.graph.nodes.find(({ name }) => name === "every")!;
  assert(Object.hasOwn(every.attributes, "__proto__"));
  assert(Object.hasOwn(model.metadata, "__proto__"));
});

Deno.test("decodeModel() reads typed data fields of every element type", () => {
  const cases: [number, Partial<Proto<"TensorProto">>, number[]][] = [
    [1, { floatData: packed("float", [1.5, -2]) }, [1.5, -2]],
    [2, { int32Data: packed("int32", [0, 255]) }, [0, 255]],
    [3, { int32Data: packed("int32", [-128, 127]) }, [-128, 127]],
    [4, { int32Data: packed("int32", [0, 65535]) }, [0, 65535]],
    [5, { int32Data: packed("int32", [-32768, 3]) }, [-32768, 3]],
    [6, { int32Data: packed("int32", [-7, 2 ** 31 - 1]) }, [-7, 2 ** 31 - 1]],
    [7, { int64Data: packed("int64", [-7n, 9n]) }, [-7, 9]],
    [9, { int32Data: packed("int32", [0, 1]) }, [0, 1]],
    [10, { int32Data: packed("int32", [0x3c00, 0xc000]) }, [1, -2]],
    [11, { doubleData: packed("double", [0.1, 2]) }, [0.1, 2]],
    [12, { uint64Data: packed("uint64", [0n, 2n ** 32n - 1n]) }, [0, 2 ** 32 - 1]],
    [13, { uint64Data: packed("uint64", [1n, 2n ** 40n]) }, [1, 2 ** 40]],
    [16, { int32Data: packed("int32", [0x3f80, 0xc000]) }, [1, -2]],
    [21, { int32Data: packed("int32", [0xf1]) }, [1, 15]],
    [22, { int32Data: packed("int32", [0xf1]) }, [1, -1]],
  ];
  for (const [dataType, fields, expected] of cases) {
    const proto = message("TensorProto", { name: "w", dataType, dims: [2n], ...fields });
    const file = fileOf(smallModel({ initializer: [proto] }));
    const model = decodeModel(file);
    assertEquals(Array.from(toNumbers(model.graph.initializers.get("w")!)), expected);
    assertEquals(encodeModel(model), file);
  }
});

Deno.test("decodeModel() reads every number of 64 bits", () => {
  const values = [0n, 1n, -1n, 127n, 128n, 2n ** 28n, -(2n ** 28n), 2n ** 31n, -(2n ** 31n) - 1n]
    .concat([2n ** 32n, 2n ** 35n - 1n, 2n ** 56n, 2n ** 63n - 1n, -(2n ** 63n)]);
  const dims = [BigInt(values.length)];
  const [first, second] = [values.slice(0, 5), values.slice(5)];
  const proto = message("TensorProto", {
    name: "w",
    dataType: 7,
    dims,
    // Writers may divide a list into several records.
    int64Data: [...packed("int64", first), ...packed("int64", second)],
  });
  const model = decodeModel(fileOf(smallModel({ initializer: [proto] })));
  assertEquals(Array.from(toBigInts(model.graph.initializers.get("w")!)), values);
});

Deno.test("decodeModel() reads numbers that lie in records of their own, as protobuf allows", () => {
  const w = message("TensorProto", { name: "w", dataType: 7, dims: [3n] });
  const records = new BinaryWriter();
  for (const value of [-7n, 9n]) records.tag(7, WireType.Varint).int64(value);
  records.tag(7, WireType.LengthDelimited).bytes(packed("int64", [2n ** 40n])[0]);
  const tensor = new BinaryWriter().raw(toBinary(schemaOf("TensorProto"), w)).raw(records.finish());
  const graph = new BinaryWriter()
    .raw(toBinary(schemaOf("GraphProto"), smallModel({ initializer: [] }).graph!))
    .tag(5, WireType.LengthDelimited).bytes(tensor.finish());
  const file = new BinaryWriter()
    .raw(toBinary(schemaOf("ModelProto"), smallModel({}, { graph: undefined })))
    .tag(7, WireType.LengthDelimited).bytes(graph.finish());
  // `w` is read by a node of the small model: no shape of it matters here.
  const model = decodeModel(file.finish());
  const values = toBigInts(model.graph.initializers.get("w")!);
  assertEquals(Array.from(values), [-7n, 9n, 2n ** 40n]);
  // Written again they are packed.
  assertEquals(
    Array.from(toBigInts(decodeModel(encodeModel(model)).graph.initializers.get("w")!)),
    Array.from(values),
  );
});

Deno.test("decodeStrings() unpacks a string tensor of a model", () => {
  const { initializers } = decodeModel(fileOf(everythingModel())).graph;
  const [text] = decodeStrings(initializers.get("text")!.bytes);
  assertEquals(new TextDecoder().decode(text), "hé");
});

Deno.test("decodeModel() sorts nodes that the file has out of order, and keeps those in order", () => {
  const nodes = [node("Relu", ["y"], ["z"]), node("Add", ["x", "w"], ["y"])];
  const model = decodeModel(fileOf(smallModel({ node: nodes })));
  assertEquals(model.graph.nodes.map(({ opType }) => opType), ["Add", "Relu"]);
});

Deno.test("decodeModel() gives each dimension without size and name a name of its own", () => {
  const file = smallModel();
  const dim = file.graph!.input[0].type!.tensorType!.shape!.dim;
  dim[0] = message("TensorShapeProto_Dimension", {});
  dim[1] = message("TensorShapeProto_Dimension", { denotation: "FEATURE" });
  const model = decodeModel(fileOf(file));
  const [a, b] = model.graph.inputs[0].type!.shape!;
  assert(typeof a === "string" && typeof b === "string");
  assertNotStrictEquals(a, b);
  assertEquals(encodeModel(model), fileOf(file));
});

Deno.test("decodeModel() accepts an initializer that is an input's default", () => {
  const initializer = [floats("w", [2], [1, 2]), floats("x", [1, 2], [0, 0])];
  assertEquals(decodeModel(fileOf(smallModel({ initializer }))).graph.initializers.size, 2);
});

Deno.test("decodeModel() takes a dimension of -1 as unknown, and encodeModel() leaves it", () => {
  const file = fileOf(smallModel({ input: [value("x", [-1, 3])] }));
  const model = decodeModel(file);
  assertEquals(model.graph.inputs[0].type?.shape, ["?x.0", 3]);
  assertEquals(encodeModel(model), file);
});
