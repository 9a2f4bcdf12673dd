import { assertEquals, assertMatch, assertStrictEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { BadInputError } from "../../src/errors.ts";
import { byteLength, type DataType } from "../../src/graph/dtype.ts";
import { elementCount, float32, int64, type Tensor } from "../../src/graph/tensor.ts";
import { decodeSafetensors, encodeSafetensors } from "../../src/safetensors/mod.ts";
import { SAFETENSORS_TYPES } from "../../src/safetensors/dtype.ts";

/** A file with this header text and so many bytes of data. */
function fileOf(header: string | Uint8Array, dataBytes = 0, headerBytes?: bigint): Uint8Array {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + text.byteLength + dataBytes);
  new DataView(file.buffer).setBigUint64(0, headerBytes ?? BigInt(text.byteLength), true);
  file.set(text, 8);
  return file;
}

const spec = (begin: number, end: number, shape = [(end - begin) / 4], dtype = "F32") =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

const DTYPES: DataType[] = [
  "bool",
  "uint8",
  "int8",
  "int16",
  "uint16",
  "float16",
  "bfloat16",
  "int32",
  "uint32",
  "float32",
  "float64",
  "int64",
  "uint64",
];

const anyTensor: fc.Arbitrary<Tensor> = fc.record({
  dtype: fc.constantFrom(...DTYPES),
  dims: fc.array(fc.nat(4), { maxLength: 3 }),
}).chain(({ dtype, dims }) => {
  const size = byteLength(dtype, elementCount(dims));
  return fc.uint8Array({ minLength: size, maxLength: size }).map((bytes) => ({
    dtype,
    dims,
    bytes,
  }));
});

const anyName = fc.string({ unit: "grapheme", minLength: 1 }).filter((name) =>
  name !== "__metadata__" && !name.includes("\0") && !name.split(/[/\\]/).includes("..")
);

Deno.test("decodeSafetensors() reads what encodeSafetensors() wrote, whatever it was", () => {
  const files = fc.record({
    tensors: fc.array(fc.tuple(anyName, anyTensor)).map((entries) => new Map(entries)),
    metadata: fc.dictionary(fc.string(), fc.string(), { noNullPrototype: true }),
  });
  fc.assert(fc.property(files, ({ tensors, metadata }) => {
    const decoded = decodeSafetensors(encodeSafetensors(tensors, metadata), { finite: false });
    assertEquals(new Map(decoded.tensors), tensors);
    assertEquals(decoded.metadata, metadata);
  }));
});

Deno.test("encodeSafetensors() writes the layout of Python's writer", () => {
  const tensors = new Map<string, Tensor>([
    ["b", float32([1], [2])],
    ["z", { dtype: "uint8", dims: [3], bytes: Uint8Array.of(1, 2, 3) }],
    ["a", float32([], [1])],
    ["n", int64([1], [9])],
  ]);
  const file = encodeSafetensors(tensors);
  const headerBytes = Number(new DataView(file.buffer).getBigUint64(0, true));
  assertEquals(headerBytes % 8, 0);
  assertEquals(
    new TextDecoder().decode(file.subarray(8, 8 + headerBytes)).trimEnd(),
    '{"__metadata__":{"format":"pt"},"n":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},' +
      '"a":{"dtype":"F32","shape":[],"data_offsets":[8,12]},' +
      '"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},' +
      '"z":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}}',
  );
});

Deno.test("decodeSafetensors() does not copy the data", () => {
  const file = encodeSafetensors(new Map([["w", float32([1], [1])]]));
  assertStrictEquals(decodeSafetensors(file).tensors.get("w")!.bytes.buffer, file.buffer);
});

Deno.test("decodeSafetensors() keeps tensors without elements and a tensor named __proto__", () => {
  const tensors = new Map([["__proto__", float32([0, 5], [])], ["w", float32([1], [1])]]);
  const decoded = decodeSafetensors(encodeSafetensors(tensors, {}));
  assertEquals(new Map(decoded.tensors), tensors);
  assertEquals(decoded.metadata, {});
});

Deno.test("encodeSafetensors() refuses types and sizes that the format cannot hold", () => {
  const int4: Tensor = { dtype: "int4", dims: [2], bytes: Uint8Array.of(0) };
  assertThrows(() => encodeSafetensors(new Map([["w", int4]])), TypeError, "no type int4");
  const short: Tensor = { dtype: "float32", dims: [2], bytes: new Uint8Array(4) };
  assertThrows(() => encodeSafetensors(new Map([["w", short]])), RangeError, "needs 8 bytes");
  assertThrows(() => encodeSafetensors(new Map([["__metadata__", float32([], [1])]])), RangeError);
});

for (
  const [dtype, bits] of [
    ["float16", [0x7c00, 0xfc00, 0x7e01]],
    ["bfloat16", [0x7f80, 0xff80, 0x7fc1]],
  ] as const
) {
  Deno.test(`decodeSafetensors() finds NaN and infinity in ${dtype}`, () => {
    for (const bad of bits) {
      const bytes = new Uint8Array(Uint16Array.of(0x7bff & 0x3f7f, bad).buffer);
      const file = encodeSafetensors(new Map([["w", { dtype, dims: [2], bytes }]]));
      assertThrows(
        () => decodeSafetensors(file),
        BadInputError,
        '"w": element 1 is NaN or infinite',
      );
    }
  });
}

Deno.test("decodeSafetensors() finds NaN and infinity in float32 and float64", () => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    const single = encodeSafetensors(new Map([["w", float32([3], [3e38, -0, bad])]]));
    assertThrows(() => decodeSafetensors(single), BadInputError, "element 2 is NaN or infinite");
    const bytes = new Uint8Array(Float64Array.of(1e308, bad).buffer);
    const double = encodeSafetensors(new Map([["w", { dtype: "float64", dims: [2], bytes }]]));
    assertThrows(() => decodeSafetensors(double), BadInputError, "element 1 is NaN or infinite");
    assertEquals(decodeSafetensors(double, { finite: false }).tensors.size, 1);
  }
});

const BAD: [string, Uint8Array, RegExp][] = [
  ["an empty file", new Uint8Array(), /too short.*this one has 0/],
  ["a file shorter than its prefix", new Uint8Array(7), /too short.*this one has 7/],
  ["a header of length 0", fileOf("", 8), /header's length is 0/],
  [
    "a huge header",
    fileOf("{}", 0, 2n ** 63n),
    /at most 16777216: current value is 9223372036854775808/,
  ],
  [
    "a header past the end",
    fileOf("{}", 0, 3n),
    /passes the end: it needs 3 bytes, the file has 2/,
  ],
  ["a header that is no object", fileOf("[]"), /must begin with \{/],
  ["bad JSON", fileOf('{"w": }'), /not JSON/],
  [
    "NaN in the header",
    fileOf('{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', 4),
    /not JSON/,
  ],
  ["a header that is not UTF-8", fileOf(Uint8Array.of(0x7b, 0xff, 0x7d)), /not JSON/],
  ["a byte order mark", fileOf("\ufeff{}"), /must begin with/],
  ["a pickle", Uint8Array.from([0x80, 2, ...new Uint8Array(30)]), /passes the end/],
  ["repeated tensors", fileOf(`{"w":${spec(0, 4)},"w":${spec(0, 4)}}`, 4), /key "w" twice/],
  [
    "a repeated key written otherwise",
    fileOf(`{"w":${spec(0, 4)},"\\u0077":${spec(0, 4)}}`, 4),
    /twice/,
  ],
  [
    "a repeated field",
    fileOf('{"w":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}'),
    /"dtype" twice/,
  ],
  ["metadata that is no object", fileOf('{"__metadata__":[]}'), /__metadata__ must be an object/],
  ["metadata that is no string", fileOf('{"__metadata__":{"a":1}}'), /"a" must be a string/],
  ["an entry that is no object", fileOf('{"w":null}'), /"w" must be an object/],
  [
    "an unknown field",
    fileOf('{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"q":1}}'),
    /"q"/,
  ],
  ["an unknown type", fileOf(`{"w":${spec(0, 4, [1], "F31")}}`, 4), /"w": dtype .* "F31"/],
  ["no type", fileOf('{"w":{"shape":[0],"data_offsets":[0,0]}}'), /"w": dtype/],
  ["a negative size", fileOf(`{"w":${spec(0, 4, [-1])}}`, 4), /shape .* \[-1\]/],
  ["a fractional size", fileOf(`{"w":${spec(0, 4, [0.5])}}`, 4), /shape .* \[0.5\]/],
  ["a shape that overflows", fileOf(`{"w":${spec(0, 4, [2 ** 52, 2 ** 52])}}`, 4), /overflows/],
  [
    "a shape of another size",
    fileOf(`{"w":${spec(0, 4, [2])}}`, 4),
    /needs 8 bytes: data_offsets give 4/,
  ],
  ["one offset", fileOf('{"w":{"dtype":"U8","shape":[0],"data_offsets":[0]}}'), /two sizes/],
  ["offsets backwards", fileOf(`{"w":${spec(4, 0, [0])}}`, 4), /data_offsets give -4/],
  [
    "data past the end",
    fileOf(`{"w":${spec(0, 8)}}`, 4),
    /"w" passes the end: it ends at 8, the data at 4/,
  ],
  ["an overlap", fileOf(`{"a":${spec(0, 8)},"b":${spec(4, 12)}}`, 12), /"b" overlaps/],
  [
    "a hole",
    fileOf(`{"a":${spec(0, 4)},"b":${spec(8, 12)}}`, 12),
    /hole before tensor "b": bytes 4 to 8/,
  ],
  ["a hole at the end", fileOf(`{"a":${spec(0, 4)}}`, 8), /hole at the end: bytes 4 to 8/],
  ["an empty name", fileOf(`{"":${spec(0, 4)}}`, 4), /name ""/],
  ["a name with a NUL", fileOf(`{"a\\u0000":${spec(0, 4)}}`, 4), /NUL/],
  [
    "a name that is a way out",
    fileOf(`{"../a":${spec(0, 4)}}`, 4),
    /refused tensor name "\.\.\/a"/,
  ],
  ["such a name with a backslash", fileOf(`{"a\\\\..":${spec(0, 4)}}`, 4), /refused tensor name/],
  [
    "a deep value",
    fileOf(`{"w":{"dtype":${"[".repeat(1e6)}${"]".repeat(1e6)}}}`),
    /dtype .* a list/,
  ],
];

for (const [title, file, pattern] of BAD) {
  Deno.test(`decodeSafetensors() refuses ${title}`, () => {
    const { message } = assertThrows(
      () => decodeSafetensors(file, { file: "a.safetensors" }),
      BadInputError,
    );
    assertMatch(message, /^a\.safetensors: /);
    assertMatch(message, pattern);
  });
}

Deno.test("decodeSafetensors() reads every type the format shares with graft", () => {
  assertEquals(SAFETENSORS_TYPES.length, DTYPES.length);
});
