/** Fetches what a message holds, piece by piece, each checked against its name before anything uses it. */
import { BadInputError } from "../../errors.ts";
import { decodeObject, type FlowerObject, type ObjectType } from "./objects.ts";
import {
  decodeConfig,
  decodeReferences,
  decodeVectorPlan,
  joinVector,
  type Settings,
  type VectorPlan,
} from "./records.ts";

/**
 * Fetches an object's content.
 *
 * @param limit most bytes of it
 */
export type PullObject = (id: string, limit: number) => Promise<Uint8Array>;

/** What is wanted of a message. */
export interface WantedRecords {
  /** Names of records of settings. */
  readonly configs: readonly string[];
  /** Names of vectors, by the names of their records. */
  readonly arrays: ReadonlyMap<string, readonly string[]>;
}

/** What was found. */
export interface PulledRecords {
  readonly configs: ReadonlyMap<string, Settings>;
  readonly arrays: ReadonlyMap<string, ReadonlyMap<string, Float32Array<ArrayBuffer>>>;
}

/** Largest object that only names others or has settings. */
const LARGEST_RECORD = 256 << 10;
/** Head of an object that has no parts. */
const LARGEST_HEAD = 128;

/**
 * Fetches the wanted records of a message; others stay where they are.
 *
 * The type of each object decides the type of its parts, so that nothing can contain itself.
 *
 * @param id of the message
 * @param mostBytes that vectors may take together
 * @throws {BadInputError} for content that is not what its names say, or too large
 */
export async function pullRecords(
  id: string,
  wanted: WantedRecords,
  mostBytes: number,
  pull: PullObject,
): Promise<PulledRecords> {
  const object = async (id: string, type: ObjectType, limit = LARGEST_RECORD) =>
    decodeObject(id, type, await pull(id, limit));
  const message = await object(id, "Message");
  if (message.children.length !== 1) {
    throw new BadInputError("The message must have one content");
  }
  const content = await object(message.children[0], "RecordDict");
  const records = decodeReferences(content, "The message's content");
  const configs = new Map<string, Settings>();
  for (const name of wanted.configs) {
    const id = records.get(name);
    if (id === undefined) continue;
    const where = `Record "${name}"`;
    configs.set(name, decodeConfig((await object(id, "ConfigRecord")).body, where));
  }
  const arrays = new Map<string, ReadonlyMap<string, Float32Array<ArrayBuffer>>>();
  let left = mostBytes;
  for (const [name, keys] of wanted.arrays) {
    const id = records.get(name);
    if (id === undefined) continue;
    const named = decodeReferences(await object(id, "ArrayRecord"), `Record "${name}"`);
    const vectors = new Map<string, Float32Array<ArrayBuffer>>();
    for (const key of keys) {
      const id = named.get(key);
      if (id === undefined) continue;
      const vector = await pullVector(await object(id, "Array"), `Array "${key}"`, left, object);
      left -= vector.byteLength;
      vectors.set(key, vector);
    }
    arrays.set(name, vectors);
  }
  return { configs, arrays };
}

async function pullVector(
  array: FlowerObject,
  where: string,
  mostBytes: number,
  object: (id: string, type: ObjectType, limit: number) => Promise<FlowerObject>,
): Promise<Float32Array<ArrayBuffer>> {
  const plan: VectorPlan = decodeVectorPlan(array, where, mostBytes);
  const largest = 4 * plan.length + LARGEST_RECORD;
  const bodies = new Map<string, Uint8Array>();
  let held = 0;
  for (const id of new Set(plan.chunks)) {
    const { body } = await object(id, "ArrayChunk", largest + LARGEST_HEAD - held);
    bodies.set(id, body);
    held += body.length;
  }
  return joinVector(plan, bodies, where);
}
