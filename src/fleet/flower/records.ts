/**
 * The content of Flower's messages, a `RecordDict`: records of settings, metrics and arrays by name.
 *
 * Source: flwr 1.42, `app/message`.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { BadInputError } from "../../errors.ts";
import { decodeNpy, encodeNpy } from "./npy.ts";
import { type EncodedObject, encodeObject, type FlowerObject, isObjectId } from "./objects.ts";
import { decodeFlower, type FlowerProto, flowerSchema } from "./proto.ts";

/** A value of settings. */
export type Setting = number | boolean | string | readonly string[];

/** Settings or metrics by name; of other types than {@linkcode Setting}'s are left out. */
export type Settings = ReadonlyMap<string, Setting>;

/** Records by name. */
export interface Records {
  readonly configs: ReadonlyMap<string, Settings>;
  readonly metrics: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** Vectors by name, within records by name. */
  readonly arrays: ReadonlyMap<string, ReadonlyMap<string, Float32Array<ArrayBuffer>>>;
}

/** Flower's size of an array's pieces. */
const CHUNK_BYTES = 5 << 20;
/** How arrays are stored: as NumPy saves them. */
const NPY = "numpy.ndarray";

/** The objects of a content, its own last. */
export function encodeRecords({ configs, metrics, arrays }: Records): EncodedObject[] {
  const objects: EncodedObject[] = [];
  const put = (object: EncodedObject) => (objects.push(object), object.id);
  const ids = new Map<string, string>();
  for (const [name, settings] of configs) ids.set(name, put(encodeConfig(settings)));
  for (const [name, values] of metrics) ids.set(name, put(encodeMetrics(values)));
  for (const [name, vectors] of arrays) {
    const parts = new Map<string, string>();
    for (const [key, vector] of vectors) parts.set(key, put(encodeVector(vector, put)));
    ids.set(name, put(encodeObject("ArrayRecord", [...parts.values()], json(parts))));
  }
  put(encodeObject("RecordDict", [...ids.values()], json(ids)));
  return objects;
}

const json = (value: ReadonlyMap<string, string> | object) =>
  new TextEncoder().encode(
    JSON.stringify(value instanceof Map ? Object.fromEntries(value) : value),
  );

function encodeVector(
  vector: Float32Array,
  put: (object: EncodedObject) => string,
): EncodedObject {
  const bytes = encodeNpy(vector);
  const chunks: string[] = [];
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
    const chunk = encodeObject("ArrayChunk", [], bytes.subarray(start, start + CHUNK_BYTES));
    // Equal pieces, as zeros have, are one object.
    if (!chunks.includes(chunk.id)) put(chunk);
    chunks.push(chunk.id);
  }
  const distinct = [...new Set(chunks)];
  return encodeObject(
    "Array",
    distinct,
    json({
      dtype: "float32",
      shape: [vector.length],
      stype: NPY,
      arraychunk_ids: chunks.map((id) => distinct.indexOf(id)),
    }),
  );
}

function encodeConfig(settings: Settings): EncodedObject {
  const items = [...settings].map(([key, value]) =>
    create(flowerSchema("ConfigRecord_Item"), { key, value: valueOf(value) })
  );
  const record = create(flowerSchema("ConfigRecord"), { items });
  return encodeObject("ConfigRecord", [], toBinary(flowerSchema("ConfigRecord"), record));
}

function valueOf(value: Setting): FlowerProto<"ConfigRecordValue"> {
  const schema = flowerSchema("ConfigRecordValue");
  if (typeof value === "boolean") return create(schema, { bool: value });
  if (typeof value === "string") return create(schema, { string: value });
  if (typeof value !== "number") return create(schema, { stringList: { vals: [...value] } });
  return Number.isSafeInteger(value)
    ? create(schema, { sint64: BigInt(value) })
    : create(schema, { double: value });
}

/** Whole numbers only count something, so that a loss of exactly 1 stays a float as on other boxes. */
const COUNTS = /^num-/;

function encodeMetrics(values: ReadonlyMap<string, number>): EncodedObject {
  const schema = flowerSchema("MetricRecordValue");
  const items = [...values].map(([key, value]) =>
    create(flowerSchema("MetricRecord_Item"), {
      key,
      value: COUNTS.test(key)
        ? create(schema, { sint64: BigInt(value) })
        : create(schema, { double: value }),
    })
  );
  const record = create(flowerSchema("MetricRecord"), { items });
  return encodeObject("MetricRecord", [], toBinary(flowerSchema("MetricRecord"), record));
}

/**
 * Ids by name, as a `RecordDict` or an `ArrayRecord` has them.
 *
 * @throws {BadInputError} if the body is not JSON, or names other parts than the head
 */
export function decodeReferences(object: FlowerObject, where: string): ReadonlyMap<string, string> {
  const entries = Object.entries(parseObject(object.body, where));
  const named = new Map<string, string>();
  for (const [name, id] of entries) {
    if (typeof id !== "string" || !isObjectId(id) || !object.children.includes(id)) {
      throw new BadInputError(`${where}: ${JSON.stringify(name.slice(0, 80))} is no part of it`);
    }
    named.set(name, id);
  }
  return named;
}

/** Settings of a `ConfigRecord`. */
export function decodeConfig(body: Uint8Array, where: string): Settings {
  const settings = new Map<string, Setting>();
  for (const { key, value } of decodeFlower("ConfigRecord", body, where).items) {
    const read = value && settingOf(value);
    if (read !== undefined) settings.set(key, read);
  }
  return settings;
}

function settingOf(value: FlowerProto<"ConfigRecordValue">): Setting | undefined {
  if (Object.hasOwn(value, "bool")) return value.bool;
  if (Object.hasOwn(value, "string")) return value.string;
  return value.stringList?.vals ?? numberOf(value);
}

function numberOf(
  value: Pick<FlowerProto<"MetricRecordValue">, "double" | "sint64" | "uint64">,
): number | undefined {
  if (Object.hasOwn(value, "double")) return value.double;
  if (Object.hasOwn(value, "sint64")) return Number(value.sint64);
  return Object.hasOwn(value, "uint64") ? Number(value.uint64) : undefined;
}

/** What an `Array` says of its vector. */
export interface VectorPlan {
  readonly length: number;
  /** Ids of its pieces, in order; equal ones repeat. */
  readonly chunks: readonly string[];
}

/** Most bytes of a `.npy` file's header. */
const MOST_HEADER_BYTES = 4096;

/**
 * Reads an `Array`.
 *
 * @param mostBytes that its numbers may take
 * @throws {BadInputError} for anything but a vector of float32, or one that is longer
 */
export function decodeVectorPlan(
  object: FlowerObject,
  where: string,
  mostBytes: number,
): VectorPlan {
  const { dtype, shape, stype, arraychunk_ids: indices } = parseObject(object.body, where);
  const bad = (what: string) => new BadInputError(`${where}: ${what}`);
  if (dtype !== "float32" || stype !== NPY) throw bad("it must be float32 as NumPy saves it");
  const isSize = (value: unknown): value is number =>
    Number.isSafeInteger(value) && (value as number) >= 0;
  if (!Array.isArray(shape) || shape.length !== 1 || !isSize(shape[0])) {
    throw bad(
      `it must have one dimension: current value is ${JSON.stringify(shape)?.slice(0, 80)}`,
    );
  }
  const [length] = shape;
  if (4 * length > mostBytes) {
    throw bad(`it has ${length} numbers, more than ${mostBytes} bytes hold`);
  }
  if (!Array.isArray(indices) || !indices.every(isSize)) throw bad("its pieces are not numbered");
  // However small its pieces are, there are no more than bytes.
  if (indices.length > 4 * length + MOST_HEADER_BYTES) throw bad("it has too many pieces");
  const chunks = indices.map((index) => object.children[index]);
  if (chunks.includes(undefined!)) throw bad("a piece of it is missing");
  return { length, chunks };
}

/**
 * A vector from its pieces.
 *
 * @param bodies of its pieces, by id
 * @throws {BadInputError} if they do not give the vector that the plan says
 */
export function joinVector(
  { length, chunks }: VectorPlan,
  bodies: ReadonlyMap<string, Uint8Array>,
  where: string,
): Float32Array<ArrayBuffer> {
  const most = 4 * length + MOST_HEADER_BYTES;
  const sizeBytes = chunks.reduce((sum, id) => sum + bodies.get(id)!.length, 0);
  if (sizeBytes > most) {
    throw new BadInputError(`${where}: its pieces have ${sizeBytes} bytes, more than ${most}`);
  }
  const bytes = new Uint8Array(sizeBytes);
  let at = 0;
  for (const id of chunks) {
    bytes.set(bodies.get(id)!, at);
    at += bodies.get(id)!.length;
  }
  const vector = decodeNpy(bytes, where);
  if (vector.length === length) return vector;
  throw new BadInputError(`${where}: it has ${vector.length} numbers, not ${length}`);
}

function parseObject(body: Uint8Array, where: string): Record<string, unknown> {
  try {
    const value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // The message below says all.
  }
  throw new BadInputError(`${where}: its body must be a JSON object`);
}
