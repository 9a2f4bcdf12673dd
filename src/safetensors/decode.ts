/**
 * safetensors bytes → tensors, read strictly.
 *
 * The format: a little-endian uint64 with the header's length, the header (a JSON object of `{dtype,
 * shape, data_offsets}` by tensor name, and `__metadata__`), then the data, which the tensors cover
 * without gap or overlap. Beyond what Python's reader checks, repeated keys, names that are paths out of
 * a folder, and values that are not finite are refused.
 */
import { BadInputError } from "../errors.ts";
import { byteLength, type DataType } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { duplicateKey } from "./duplicate_keys.ts";
import { dtypeNamed, SAFETENSORS_TYPES } from "./dtype.ts";
import { firstNonFinite } from "../graph/finite.ts";

/** Contents of a safetensors file. */
export interface Safetensors {
  /** In the order of the data. Bytes are views of the file. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** The file's own key-value pairs. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Options of {@linkcode decodeSafetensors}. */
export interface SafetensorsOptions {
  /** The file's name, for messages; `safetensors` where absent. */
  readonly file?: string;
  /** Whether NaN and infinite values are an error; reads all of the data. Default `true`. */
  readonly finite?: boolean;
}

/** Enough for 100,000 tensors. Python's reader accepts 100 MB, which can take gigabytes as JSON. */
const MAX_HEADER_BYTES = 16 << 20;
const PREFIX_BYTES = 8;

interface Entry {
  readonly name: string;
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/**
 * Reads a safetensors file; tensors are views over `bytes`, nothing is copied.
 *
 * @param bytes the whole file.
 * @throws {BadInputError} naming the file, the tensor and the value.
 *
 * @example
 * ```ts
 * import { decodeSafetensors, encodeSafetensors } from "./mod.ts";
 * import { float32 } from "../graph/tensor.ts";
 *
 * const file = encodeSafetensors(new Map([["w", float32([2], [1, 2])]]));
 * const { tensors, metadata } = decodeSafetensors(file);
 * console.assert(tensors.has("w") && metadata.format === "pt");
 * ```
 */
export function decodeSafetensors(
  bytes: Uint8Array,
  { file = "safetensors", finite = true }: SafetensorsOptions = {},
): Safetensors {
  const bad = (problem: string) => new BadInputError(`${file}: ${problem}`);
  const headerBytes = headerLength(bytes, bad);
  const header = parseHeader(bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + headerBytes), bad);
  const data = bytes.subarray(PREFIX_BYTES + headerBytes);
  const metadata: [string, string][] = [];
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") metadata.push(...metadataOf(value, bad));
    else entries.push(entryOf(name, value, bad));
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCover(entries, data.byteLength, bad);
  const tensors = new Map<string, Tensor>();
  for (const { name, dtype, dims, begin, end } of entries) {
    const tensor = { dtype, dims, bytes: data.subarray(begin, end) };
    const at = finite ? firstNonFinite(tensor) : -1;
    if (at >= 0) throw bad(`tensor "${name}": element ${at} is NaN or infinite`);
    tensors.set(name, tensor);
  }
  return { tensors, metadata: Object.fromEntries(metadata) };
}

type Bad = (problem: string) => BadInputError;

function headerLength(bytes: Uint8Array, bad: Bad): number {
  if (bytes.byteLength < PREFIX_BYTES) {
    throw bad(
      `too short: a safetensors file has at least ${PREFIX_BYTES} bytes: this one has ${bytes.byteLength}`,
    );
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length === 0n) throw bad("the header's length is 0");
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw bad(
      `the header's length must be at most ${MAX_HEADER_BYTES}: current value is ${length}`,
    );
  }
  const available = bytes.byteLength - PREFIX_BYTES;
  if (length > BigInt(available)) {
    throw bad(`the header passes the end: it needs ${length} bytes, the file has ${available}`);
  }
  return Number(length);
}

function parseHeader(bytes: Uint8Array, bad: Bad): Record<string, unknown> {
  if (bytes[0] !== 0x7b) throw bad("the header must begin with {");
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (error) {
    throw bad(`the header is not JSON: ${(error as Error).message}`);
  }
  const repeated = duplicateKey(text);
  if (repeated !== undefined) throw bad(`the header has the key ${JSON.stringify(repeated)} twice`);
  return header as Record<string, unknown>;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function metadataOf(value: unknown, bad: Bad): [string, string][] {
  if (!isObject(value)) throw bad("__metadata__ must be an object of strings");
  return Object.entries(value).map(([key, text]) => {
    if (typeof text !== "string") throw bad(`__metadata__: "${key}" must be a string`);
    return [key, text];
  });
}

const isSize = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);

/** Formats a JSON value for a message; long and deep ones only by their kind. */
function shown(value: unknown): string {
  const short = (part: unknown) => typeof part !== "object" || part === null;
  if (short(value)) return String(JSON.stringify(value)).slice(0, 80);
  if (!Array.isArray(value)) return "an object";
  return value.length <= 8 && value.every(short) ? `[${value}]`.slice(0, 80) : "a list";
}

function entryOf(name: string, value: unknown, bad: Bad): Entry {
  const quoted = JSON.stringify(name);
  if (name === "" || name.includes("\0") || name.split(/[/\\]/).includes("..")) {
    throw bad(`refused tensor name ${quoted}: it must not be empty or contain ".." or a NUL`);
  }
  if (!isObject(value)) throw bad(`tensor ${quoted} must be an object`);
  const unknown = Object.keys(value).find((key) =>
    !["dtype", "shape", "data_offsets"].includes(key)
  );
  if (unknown !== undefined) throw bad(`tensor ${quoted} has an unknown field: "${unknown}"`);
  const { dtype: typeName, shape, data_offsets: offsets } = value;
  const dtype = typeof typeName === "string" ? dtypeNamed(typeName) : undefined;
  if (dtype === undefined) {
    throw bad(
      `tensor ${quoted}: dtype must be one of ${SAFETENSORS_TYPES.join(", ")}: current value is ${
        shown(typeName)
      }`,
    );
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw bad(
      `tensor ${quoted}: shape must be a list of sizes: current value is ${shown(shape)}`,
    );
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw bad(
      `tensor ${quoted}: data_offsets must be two sizes: current value is ${shown(offsets)}`,
    );
  }
  const [begin, end] = offsets;
  const needed = byteLength(dtype, elementCount(shape));
  if (!Number.isSafeInteger(needed)) throw bad(`tensor ${quoted}: shape [${shape}] overflows`);
  if (end - begin !== needed) {
    throw bad(
      `tensor ${quoted}: ${typeName}[${shape}] needs ${needed} bytes: data_offsets give ${
        end - begin
      }`,
    );
  }
  return { name, dtype, dims: shape, begin, end };
}

/** Checks that tensors follow one another from the first byte of the data to the last. */
function checkCover(entries: readonly Entry[], dataBytes: number, bad: Bad): void {
  let at = 0;
  for (const { name, begin, end } of entries) {
    if (end > dataBytes) {
      throw bad(`tensor "${name}" passes the end: it ends at ${end}, the data at ${dataBytes}`);
    }
    if (begin < at) {
      throw bad(`tensor "${name}" overlaps the one before: it begins at ${begin}, not ${at}`);
    }
    if (begin > at) throw bad(`there is a hole before tensor "${name}": bytes ${at} to ${begin}`);
    at = end;
  }
  if (at !== dataBytes) throw bad(`there is a hole at the end: bytes ${at} to ${dataBytes}`);
}
