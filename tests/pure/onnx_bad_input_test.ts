import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { BadInputError } from "../../src/errors.ts";
import { decodeModel } from "../../src/onnx/mod.ts";
import type { Proto } from "../../src/onnx/schema.ts";
import {
  entry,
  fileOf,
  floats,
  message,
  node,
  packed,
  smallGraph,
  smallModel,
  value,
} from "../helpers/onnx_messages.ts";

type Tensor = Partial<Proto<"TensorProto">>;

const graph = (more: Partial<Proto<"GraphProto">>) => fileOf(smallModel(more));
const model = (more: Partial<Proto<"ModelProto">>) => fileOf(smallModel({}, more));
const tensor = (more: Tensor) =>
  graph({ initializer: [message("TensorProto", { name: "w", dataType: 1, dims: [2n], ...more })] });
const opset = (domain: string, version: bigint) =>
  message("OperatorSetIdProto", { domain, version });

/** A message of `bytes` in a length-delimited field. */
const record = (field: number, bytes: Uint8Array) =>
  new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(bytes).finish();

/** An If in an If in an If. */
function nestedModel(levels: number): Uint8Array {
  let inner = smallGraph();
  for (let i = 0; i < levels; i++) {
    const attribute = [message("AttributeProto", { name: "then_branch", type: 5, g: inner })];
    inner = smallGraph({
      node: [...smallGraph().node, node("If", ["y"], [`o${i}`], { attribute })],
    });
  }
  return graph({ node: inner.node });
}

/** A model of one MatMulNBits with 64 bytes of weights, for 2 rows of 64 columns, unless it says otherwise. */
function packedModel(sizes: Readonly<Record<string, bigint>>): Uint8Array {
  const attribute = Object.entries({ N: 2n, K: 64n, block_size: 32n, ...sizes })
    .map(([name, i]) => message("AttributeProto", { name, type: 2, i }));
  return fileOf(smallModel({
    input: [value("x", ["batch", 64])],
    initializer: [
      message("TensorProto", {
        ...{ name: "B", dataType: 2, dims: [2n, 2n, 16n], rawData: new Uint8Array(64) },
      }),
      floats("scales", [4], [1, 1, 1, 1]),
    ],
    node: [
      node("MatMulNBits", ["x", "B", "scales"], ["z"], { domain: "com.microsoft", attribute }),
    ],
  }, { opsetImport: [opset("", 21n), opset("com.microsoft", 1n)] }));
}

const external = (...entries: [string, string][]): Tensor => ({
  dataLocation: 1,
  externalData: entries.map(([key, value]) => entry(key, value)),
});

/** Title, file, and what the message must say besides the file's name. */
const CASES: [string, Uint8Array, RegExp][] = [
  ["an empty file", new Uint8Array(), /the file is empty/],
  ["text", new TextEncoder().encode("<html>not a model</html>"), /no ONNX model/],
  [
    "a length past the end",
    Uint8Array.from([0x3a, 100, 1]),
    /graph: 100 bytes at byte 2 pass the end/,
  ],
  [
    "a nested length past the end of its parent",
    new Uint8Array([...record(7, Uint8Array.from([0x0a, 9, 0])), ...new Uint8Array(20)]),
    /graph\.node\[0\]: 9 bytes at byte 4 pass the end/,
  ],
  [
    "a length of 64 bits",
    Uint8Array.from([0x3a, 0x85, 0x80, 0x80, 0x80, 0x80, 1, 0]),
    /passes 4 GiB/,
  ],
  [
    "a field of another wire type",
    Uint8Array.from([0x38, 1]),
    /wire type 0 .* is not this field's/,
  ],
  [
    "a packed list that ends inside a number",
    record(7, record(5, record(4, new Uint8Array(6)))),
    /float_data\[0\]: a list of 6 bytes ends inside a number/,
  ],
  [
    "a million empty nodes",
    record(7, Uint8Array.from({ length: 2_000_000 }, (_, i) => i % 2 === 0 ? 0x0a : 0)),
    /graph\.node\[\d+\]: so many small records are too many/,
  ],
  [
    "a million unknown fields",
    Uint8Array.from({ length: 3_000_000 }, (_, i) => [0xe8, 0x07, 0][i % 3]),
    /so many small records are too many/,
  ],
  [
    "numbers that would take many times the file's size",
    record(7, record(5, record(7, new Uint8Array(34 << 20)))),
    /int64_data\[0\]: numbers outside raw data make more than \d+ bytes of tensors/,
  ],
  [
    "a number of more than 64 bits",
    record(7, record(5, record(7, new Uint8Array(11).fill(0x80)))),
    /int64_data\[0\]: the number before byte \d+ has no end/,
  ],
  ["an unknown group that never ends", Uint8Array.from([0xfb, 0x3e, 0xfb, 0x3e]), /no ONNX model/],
  ["text that is not UTF-8", record(2, Uint8Array.from([0xff])), /no ONNX model/],
  ["nesting over 100", nestedModel(40), /nested more than 100 deep/],
  ["no IR version", model({ irVersion: 0n }), /IR version is 0/],
  ["no graph", model({ graph: undefined }), /has no graph/],
  ["no opset", model({ opsetImport: [] }), /imports no opset/],
  ["an opset from the future", model({ opsetImport: [opset("", 99n)] }), /opset 99 is newer/],
  ["opset 0", model({ opsetImport: [opset("", 0n)] }), /opset .* current value is 0/],
  [
    "two opsets of one domain",
    model({ opsetImport: [opset("", 20n), opset("ai.onnx", 21n)] }),
    /given twice: 20 and 21/,
  ],
  [
    "a cycle",
    graph({ node: [node("Add", ["x", "z"], ["y"]), node("Relu", ["y"], ["z"])] }),
    /wait for each other: .*Add "y" → Relu "z" → Add "y"/,
  ],
  ["a node that reads itself", graph({ node: [node("Add", ["x", "z"], ["z"])] }), /wait for each/],
  ["an undefined input", graph({ node: [node("Relu", ["q"], ["z"])] }), /reads "q"/],
  ["an undefined output", graph({ node: [node("Relu", ["x"], ["q"])] }), /output "z" is never/],
  [
    "a value defined twice",
    graph({ node: [node("Relu", ["x"], ["z"]), node("Neg", ["x"], ["z"])] }),
    /node 1 \(Neg "z"\) defines "z"/,
  ],
  [
    "a node that defines an input",
    graph({ node: [node("Relu", ["x"], ["x"]), node("Neg", ["x"], ["z"])] }),
    /"x"/,
  ],
  ["a node without operator", graph({ node: [node("", ["x"], ["z"])] }), /no operator type/],
  ["two inputs of one name", graph({ input: [value("x", [1]), value("x", [1])] }), /two inputs/],
  [
    "an input without name",
    graph({ input: [value("x", [1]), value("", [1])] }),
    /input 1 has no name/,
  ],
  [
    "two initializers of one name",
    graph({ initializer: [floats("w", [1], [1]), floats("w", [1], [1])] }),
    /two initializers are named "w"/,
  ],
  ["an initializer without name", graph({ initializer: [floats("", [1], [1])] }), /no name/],
  [
    "an attribute given twice",
    graph({
      node: [node("Relu", ["x"], ["z"], {
        attribute: [1n, 2n].map((i) => message("AttributeProto", { name: "a", type: 2, i })),
      })],
    }),
    /attribute "a" is given twice/,
  ],
  [
    "an attribute without its graph",
    graph({
      node: [node("If", ["x"], ["z"], {
        attribute: [message("AttributeProto", { name: "then_branch", type: 5 })],
      })],
    }),
    /attribute "then_branch": its type is graph/,
  ],
  [
    "a layer of more rows than its weights have",
    packedModel({ N: 2n ** 28n }),
    /node 0 \(com\.microsoft\.MatMulNBits "z"\): its sizes need 8589934592 bytes of B: .* has 64/,
  ],
  [
    "a layer of more columns than its weights have",
    packedModel({ K: 2n ** 40n }),
    /bytes of B: the file has 64/,
  ],
  [
    "an operator with an input too few",
    graph({ node: [node("MatMul", ["x"], ["z"])] }),
    /2 inputs/,
  ],
  [
    "an input of more dimensions than its operator reads",
    graph({
      input: [value("x", [1, 2, 2, 2])],
      node: [node("LSTM", ["x", "w", "w"], ["z"])],
    }),
    /node 0 \(LSTM "z"\): input 0 \(X\) must have 3 dimensions: "x" has 4/,
  ],
  ["an unknown element type", tensor({ dataType: 99 }), /initializer.* "w": element type 99/],
  ["an unknown value type", graph({ input: [value("x", [1], 77)] }), /"x": element type 77/],
  ["a negative dimension", tensor({ dims: [-2n] }), /"w": a dimension is negative: .* -2/],
  ["an overflowing dimension", tensor({ dims: [2n ** 62n] }), /overflow/],
  ["overflowing dimensions", tensor({ dims: [2n ** 31n, 2n ** 31n] }), /overflow/],
  ["a negative value dimension", graph({ input: [value("x", [-2])] }), /"x": dimension 0/],
  ["too little raw data", tensor({ rawData: new Uint8Array(7) }), /needs 8 bytes: it has 7/],
  ["no data", tensor({}), /needs 8 bytes: it has 0/],
  [
    "too many floats",
    tensor({ floatData: packed("float", [1, 2, 3]) }),
    /needs 8 bytes: it has 12/,
  ],
  [
    "data given twice",
    tensor({ rawData: new Uint8Array(8), floatData: packed("float", [1, 2]) }),
    /more than once/,
  ],
  [
    "a scale that is NaN",
    graph({
      node: [node("DequantizeLinear", ["x", "w"], ["z"])],
      initializer: [floats("w", [], [NaN])],
    }),
    /scale "w" of node 0 \(DequantizeLinear "z"\): element 0 is NaN/,
  ],
  [
    "an operator with more inputs than it has",
    graph({ node: [node("Relu", ["x", "w"], ["z"])] }),
    /node 0 \(Relu .*: it must have 1 inputs: current value is 2/,
  ],
  [
    "an input that is far larger than the weights",
    graph({ input: [value("x", [2 ** 20, 2 ** 20])] }),
    /the inputs have 1099511627776 elements/,
  ],
  [
    "a size that the weights do not have",
    graph({
      node: [node("GRU", ["x", "w", "w"], ["z"], {
        attribute: [message("AttributeProto", { name: "hidden_size", type: 2, i: 2n ** 30n })],
      })],
      initializer: [floats("w", [1, 3, 1], [1, 2, 3])],
    }),
    /node 0 \(GRU .*"hidden_size" must be that of the recurrent weight/,
  ],
  [
    "a size that is no integer",
    graph({
      node: [node("Split", ["x"], ["z"], {
        attribute: [message("AttributeProto", { name: "num_outputs", type: 1, f: 1 })],
      })],
    }),
    /"num_outputs" of Split .* must be an integer: current kind is float/,
  ],
  [
    "a value of fewer dimensions than its operator reads",
    graph({ node: [node("ConvInteger", ["x", "w"], ["z"])] }),
    /node 0 \(ConvInteger .* must have 3 to 8 dimensions/,
  ],
  [
    "an int8 out of range",
    tensor({ dataType: 3, int32Data: packed("int32", [1, 200]) }),
    /outside int8: 200/,
  ],
  ["a string tensor without strings", tensor({ dataType: 8 }), /2 strings are needed: it has 0/],
  ["a tensor in segments", tensor({ segment: message("TensorProto_Segment", {}) }), /segments/],
  [
    "a bad tensor in a part graft does not read",
    graph({
      sparseInitializer: [message("SparseTensorProto", { values: floats("s", [-1], []) })],
    }),
    /sparse_initializer\[0\]\.values "s": a dimension is negative/,
  ],
  ["external data without location", tensor(external(["offset", "0"])), /has no location/],
  [
    "external data with a negative offset",
    tensor(external(["location", "d"], ["offset", "-1"])),
    /-1/,
  ],
  [
    "external data with a wrong length",
    tensor(external(["location", "d"], ["length", "4"])),
    /has 4/,
  ],
  ["a repeated key", tensor(external(["location", "d"], ["location", "e"])), /a key twice/],
  ["external data where there are no files", tensor(external(["location", "d"])), /is in "d"/],
];

for (const [title, file, pattern] of CASES) {
  Deno.test(`decodeModel() refuses ${title}`, () => {
    const { message } = assertThrows(() => decodeModel(file, { file: "m.onnx" }), BadInputError);
    assertMatch(message, /^m\.onnx: /);
    assertMatch(message, pattern);
  });
}

Deno.test("decodeModel() refuses every cut of a file", () => {
  const file = fileOf(smallModel());
  for (let length = 0; length < file.byteLength; length++) {
    try {
      // A cut between two records of the model can leave a sound, smaller model.
      assert(decodeModel(file.subarray(0, length)).graph.nodes.length <= 2);
    } catch (error) {
      assert(error instanceof BadInputError, `cut at ${length}: ${error}`);
    }
  }
});

Deno.test("decodeModel() accepts a layer whose sizes are those of its weights", () => {
  assertEquals(decodeModel(packedModel({})).graph.nodes[0].opType, "MatMulNBits");
});

Deno.test("decodeModel() accepts nesting below the limit", () => {
  let depth = 0;
  let at = decodeModel(nestedModel(20)).graph;
  for (;; depth++) {
    const branch = at.nodes.at(-1)!.attributes.then_branch;
    if (branch?.kind !== "graph") break;
    at = branch.value;
  }
  assertEquals(depth, 20);
});
