import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { decodeNpy, encodeNpy } from "../../src/fleet/flower/npy.ts";
import {
  decodeObject,
  type EncodedObject,
  encodeObject,
  objectId,
} from "../../src/fleet/flower/objects.ts";
import { encodeReply, type MessageHeader, readHeader } from "../../src/fleet/flower/message.ts";
import { pullRecords } from "../../src/fleet/flower/pull_records.ts";
import { encodeRecords, type Records, type Setting } from "../../src/fleet/flower/records.ts";

const text = (value: string) => new TextEncoder().encode(value);

const WANTED = { configs: ["config"], arrays: new Map([["adapter", ["adapter"]]]) };

/** A message's objects by name, and its own name. */
function messageOf(records: Records): { id: string; objects: Map<string, EncodedObject> } {
  const parts = encodeRecords(records);
  const message = encodeObject("Message", [parts.at(-1)!.id], new Uint8Array());
  return { id: message.id, objects: new Map([...parts, message].map((part) => [part.id, part])) };
}

const recordsOf = (vector: Float32Array<ArrayBuffer>): Records => ({
  configs: new Map([[
    "config",
    new Map<string, Setting>([["rank", 4], ["words", ["q", "v"]], ["rate", 0.5]]),
  ]]),
  metrics: new Map([["metrics", new Map([["num-examples", 3], ["loss", 1]])]]),
  arrays: new Map([["adapter", new Map([["adapter", vector]])]]),
});

Deno.test("pullRecords() reads what encodeRecords() wrote, equal pieces of an array once", async () => {
  // Three pieces, the first two all zeros but for the header of the file in the first.
  const vector = new Float32Array(3_500_000);
  vector[vector.length - 1] = 1.5;
  const { id, objects } = messageOf(recordsOf(vector));
  const asked: string[] = [];
  const pulled = await pullRecords(id, WANTED, 1 << 24, (id) => {
    asked.push(id);
    return Promise.resolve(objects.get(id)!.content);
  });
  assertEquals(pulled.configs.get("config")!.get("rank"), 4);
  assertEquals(pulled.configs.get("config")!.get("words"), ["q", "v"]);
  assertEquals(pulled.configs.get("config")!.get("rate"), 0.5);
  assertEquals(pulled.arrays.get("adapter")!.get("adapter"), vector);
  // Metrics were not wanted.
  assertEquals(new Set(asked).size, asked.length);
  assert(asked.length < objects.size);
});

Deno.test("pullRecords() refuses an object that is not what its name says", async () => {
  const { id, objects } = messageOf(recordsOf(Float32Array.of(1, 2)));
  for (const changed of objects.keys()) {
    const pull = (id: string) => {
      const { content } = objects.get(id)!;
      return Promise.resolve(id === changed ? content.with(content.length - 1, 0xff) : content);
    };
    const isWanted = new TextDecoder("latin1").decode(objects.get(changed)!.content)
      .startsWith("MetricRecord") === false;
    const read = pullRecords(id, WANTED, 1 << 20, pull).then(() => undefined, (error) => error);
    assertEquals((await read) instanceof BadInputError, isWanted, changed);
  }
});

Deno.test("pullRecords() refuses a vector beyond the limit before it fetches its pieces", async () => {
  const { id, objects } = messageOf(recordsOf(new Float32Array(1000)));
  const asked: string[] = [];
  const pull = (id: string) => {
    asked.push(new TextDecoder("latin1").decode(objects.get(id)!.content).split(" ")[0]);
    return Promise.resolve(objects.get(id)!.content);
  };
  const error = await pullRecords(id, WANTED, 3999, pull).then(() => undefined, (error) => error);
  assertStringIncludes(error.message, "1000 numbers");
  assert(!asked.includes("ArrayChunk"));
});

Deno.test("decodeObject() refuses wrong types, lengths, names and heads", () => {
  const cases: [string, string][] = [
    ["ArrayChunk  2\0ab", "must be a Array"],
    ["Array  3\0ab", 'has 2 bytes: its head says "3"'],
    ["Array x 2\0ab", "not named by a digest"],
    [`Array ${"a".repeat(64)},${"a".repeat(64)} 2\0ab`, "names a part twice"],
    ["Array 2\0ab", "three words"],
    ["Array  2", "no head"],
    [`Array ${Array(1025).fill("a".repeat(64)).join()} 0\0`, "no head"],
  ];
  for (const [content, message] of cases) {
    assertThrows(
      () => decodeObject(objectId(text(content)), "Array", text(content)),
      BadInputError,
      message,
    );
  }
  const { id } = encodeObject("Array", [], text("ab"));
  assertThrows(
    () => decodeObject(id, "Array", text("Array  2\0ax")),
    BadInputError,
    "another digest",
  );
});

Deno.test("decodeNpy() reads NumPy's versions, and refuses other types, shapes and lengths", () => {
  const vector = Float32Array.of(1, -2.5, 3e-8);
  const file = encodeNpy(vector);
  assertEquals(decodeNpy(file, "v"), vector);
  const header = new TextDecoder("latin1").decode(file.subarray(10, file.length - 12));
  const withHeader = (changed: string, version = 1) => {
    const length = version === 1 ? [changed.length & 0xff, changed.length >> 8] : [
      ...[changed.length & 0xff, changed.length >> 8, 0, 0],
    ];
    return Uint8Array.of(
      ...file.subarray(0, 6),
      ...[version, 0],
      ...length,
      ...text(changed),
      ...file.subarray(file.length - 12),
    );
  };
  assertEquals(decodeNpy(withHeader(header, 2), "v"), vector);
  const refused: [Uint8Array, string][] = [
    [withHeader(header.replace("<f4", "<f8")), "little-endian float32"],
    [withHeader(header.replace("<f4", "|O")), "little-endian float32"],
    [withHeader(header.replace("(3,)", "(3, 1)")), "one dimension"],
    [withHeader(header.replace("(3,)", "(4,)")), "4 numbers take 16 bytes: it has 12"],
    [withHeader(header.replace("(3,)", "(99999999999999999999,)")), "one dimension"],
    [withHeader(header, 9), "version 9"],
    [file.subarray(0, 11), "no .npy file"],
    [Uint8Array.of(...file.subarray(0, 8), 0xff, 0xff, 0, 0), "longer than the file"],
    [encodeNpy(Float32Array.of(1, NaN)), "number 1 is NaN"],
  ];
  for (const [bytes, message] of refused) {
    assertThrows(() => decodeNpy(bytes, "v"), BadInputError, message);
  }
});

const HEADER: MessageHeader = {
  ...{ runId: 7n, messageId: "c".repeat(64), from: 1n, to: 2n ** 63n + 1n, group: "3" },
  ...{ type: "train", expires: 2000, fromTask: 5n },
};

Deno.test("encodeReply() answers the sender, ends with the message, and is the same each time", () => {
  const records = recordsOf(Float32Array.of(1));
  const reply = encodeReply(HEADER, records, 1500);
  const { metadata } = reply.message;
  assertEquals(metadata!.dstNodeId, 1n);
  assertEquals(metadata!.srcNodeId, 2n ** 63n + 1n);
  assertEquals(metadata!.replyToMessageId, "c".repeat(64));
  assertEquals(metadata!.dstTaskId, 5n);
  assert(metadata!.ttl <= 500 && metadata!.ttl > 499);
  assert(reply.message.content !== undefined && reply.message.error === undefined);
  assertEquals(encodeReply(HEADER, records, 1500).message.metadata!.messageId, metadata!.messageId);
  assertEquals(reply.tree.objectId, metadata!.messageId);
  const error = encodeReply(HEADER, { code: 101, reason: "no" }, 1500);
  assertEquals(error.message.error!.code, 101n);
  assertEquals(error.objects.size, 1);
});

Deno.test("readHeader() refuses messages for others, without an end, or without a digest", () => {
  const metadata = encodeReply({ ...HEADER, from: 9n }, { code: 1, reason: "" }, 1500).message
    .metadata!;
  assertEquals(readHeader(metadata, 9n).expires, metadata.createdAt + metadata.ttl);
  assertThrows(() => readHeader(metadata, 8n), BadInputError, "another node");
  assertThrows(() => readHeader({ ...metadata, ttl: Infinity }, 9n), BadInputError, "not end");
  assertThrows(() => readHeader({ ...metadata, messageId: "../x" }, 9n), BadInputError, "digest");
  assertThrows(() => readHeader(undefined, 9n), BadInputError, "without a header");
});
