/**
 * What a SuperLink sends: an answer with a message, and the message's objects. A mutant's objects are named by
 * their new content, so that it is read behind its digests, too.
 */
import { concat } from "@std/bytes/concat";
import { create, toBinary } from "@bufbuild/protobuf";
import { BadInputError } from "../../../../src/errors.ts";
import { readHeader } from "../../../../src/fleet/flower/message.ts";
import { encodeObject, objectId } from "../../../../src/fleet/flower/objects.ts";
import { decodeFlower, flowerSchema } from "../../../../src/fleet/flower/proto.ts";
import { pullRecords } from "../../../../src/fleet/flower/pull_records.ts";
import { encodeRecords, type Setting } from "../../../../src/fleet/flower/records.ts";
import { startAdapter } from "../../../../src/fleet/rounds/start_adapter.ts";
import { readTask } from "../../../../src/fleet/rounds/task.ts";
import { type HostileFormat, lazily } from "../format.ts";
import { damaged } from "../mutators/bytes.ts";
import { HOSTILE_WORDS } from "../mutators/words.ts";
import { pick, type Random } from "../random.ts";

/** Layers of the box. */
const LAYERS = [{ name: "q", rank: 2, in: 4, out: 3 }, { name: "v", rank: 2, in: 4, out: 3 }];
const NODE = 7n;
const MOST_BYTES = 1 << 20;
/** Place of the vector's piece among the parts: behind the answer and two records of settings. */
const CHUNK = 3;

const TOKENS = [
  ...['{"adapter": "', '"shape": [', '"arraychunk_ids": [0, 0, 0', "4294967296]", "-1]", "1e400"],
  ...['"dtype": "float64"', '"__proto__": ', "[[[[", "\\u0000", "'descr': '|O'", "'shape': (1, 1)"],
  ...[
    "Array ",
    "ArrayChunk ",
    "RecordDict ",
    " 0\0",
    "\0",
    ",",
    "\xff\xff\xff\xff\x0f",
    "\x0a\xff",
  ],
  ...HOSTILE_WORDS,
];

function sizes(count: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(count).buffer);
}

/** The answer, then the objects, parts before wholes, each behind its length. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  return concat(parts.flatMap((part) => [sizes(part.length), part]));
}

function partsOf(file: Uint8Array): Uint8Array<ArrayBuffer>[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at + 4 <= file.length;) {
    const end = at + 4 + view.getUint32(at, true);
    if (end > file.length) throw new BadInputError("the file is cut off");
    parts.push(file.slice(at + 4, end));
    at = end;
  }
  if (parts.length < 2) throw new BadInputError("there is no message");
  return parts;
}

function seed(config: Readonly<Record<string, Setting>>, parts: "AB" | "B"): Uint8Array {
  const numbers = LAYERS.reduce(
    (sum, layer) => sum + layer.rank * (layer.out + (parts === "AB" ? layer.in : 0)),
    0,
  );
  const layout = new Map([["layers", JSON.stringify(LAYERS)], ["parts", parts]]);
  const objects = encodeRecords({
    configs: new Map<string, ReadonlyMap<string, Setting>>([
      ["config", new Map(Object.entries(config))],
      ["layout", layout],
    ]),
    arrays: new Map([["adapter", new Map([["adapter", new Float32Array(numbers).fill(0.5)]])]]),
    metrics: new Map(),
  });
  const message = encodeObject("Message", [objects.at(-1)!.id], new Uint8Array());
  const metadata = {
    ...{ runId: 1n, messageId: message.id, srcNodeId: 1n, dstNodeId: NODE, groupId: "1" },
    ...{ ttl: 60, createdAt: 1.8e9, messageType: "train" },
  };
  const schema = flowerSchema("PullMessagesResponse");
  const answer = toBinary(schema, create(schema, { messagesList: [{ metadata, content: {} }] }));
  return joined([answer, ...objects.map(({ content }) => content), message.content]);
}

/** Changes one part, and the names of the objects that hold it. */
function mutant(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  const parts = partsOf(pick(random, seeds));
  const names = parts.map(objectId);
  const isNumber = random(4) === 0;
  const at = isNumber ? CHUNK : random(parts.length);
  if (isNumber) parts[at].fill(random(256), -1 - random(16));
  else parts[at] = new Uint8Array(damaged([parts[at]], TOKENS, random));
  // Now and then a name stays, and is wrong.
  const from = random(8) === 0 ? parts.length : Math.max(1, at);
  for (let i = from; i < parts.length; i++) {
    const [before, after] = [names[i], objectId(parts[i])];
    if (before === after) continue;
    for (const [j, part] of parts.entries()) if (j === 0 || j > i) rename(part, before, after);
  }
  return joined(parts);
}

/** Names have the same length, so that nothing else changes. */
function rename(part: Uint8Array, before: string, after: string): void {
  const text = new TextDecoder("latin1").decode(part);
  const name = new TextEncoder().encode(after);
  for (let at = text.indexOf(before); at >= 0; at = text.indexOf(before, at + 1)) {
    part.set(name, at);
  }
}

async function probe(file: Uint8Array): Promise<void> {
  const [answer, ...contents] = partsOf(file);
  const [message] = decodeFlower("PullMessagesResponse", answer, "The answer").messagesList;
  const header = readHeader(message?.metadata, NODE);
  const objects = new Map(contents.map((content) => [objectId(content), content]));
  const wanted = { configs: ["config", "layout"], arrays: new Map([["adapter", ["adapter"]]]) };
  const { configs, arrays } = await pullRecords(
    header.messageId,
    wanted,
    MOST_BYTES,
    (id, limit) => {
      const content = objects.get(id);
      if (content === undefined || content.length > limit) throw new BadInputError("too large");
      return Promise.resolve(content);
    },
  );
  const adapter = arrays.get("adapter")?.get("adapter");
  const config = configs.get("config") ?? new Map();
  const task = readTask(header.type, config, configs.get("layout"), adapter?.length ?? 0);
  startAdapter(task, LAYERS, adapter);
}

export const FLOWER: HostileFormat = {
  name: "flower",
  seeds: lazily(() => [
    seed({ "aggregation": "stack", "rank": 2, "target-modules": ["q"], "round": 3 }, "AB"),
    seed({ "aggregation": "private", "learning-rate": 0.1, "max-steps": 5, "seed": 1 }, "B"),
  ]),
  mutate: mutant,
  prepare: async () => await probe(FLOWER.seeds()[0]),
  probe,
};
