/** Finds a tensor message's contents: raw, in typed fields, or in a file beside the model. */
import { BadInputError } from "../errors.ts";
import type { DataType } from "../graph/dtype.ts";
import type { Proto } from "./schema.ts";
import { fixedNumbers, varints32, varints64 } from "./packed_numbers.ts";
import { encodeStrings } from "./string_tensor.ts";

/** A range of a file beside the model. `location` is relative to the model's folder. */
export interface ExternalRef {
  /** As the model gives it; not checked. */
  readonly location: string;
  /** First byte. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** Context of decoding a message. */
export interface DecodeContext {
  /** The model file's name, for messages. */
  readonly file: string;
  /** Reads external data; absent if the caller has no files. */
  readonly external?: (ref: ExternalRef) => Uint8Array;
}

const MIN_MAX: Partial<Record<DataType, readonly [number, number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
  bool: [0, 1],
  float16: [0, 65535],
  bfloat16: [0, 65535],
  uint4: [0, 255],
  int4: [0, 255],
};

const bytesOf = (view: ArrayBufferView) =>
  new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);

/** Bytes of values in one of the typed fields instead of `raw_data`. */
export function typedBytes(
  proto: Proto<"TensorProto">,
  dtype: DataType,
  where: string,
): Uint8Array {
  switch (dtype) {
    case "float32":
      return fixedNumbers(proto.floatData);
    case "float64":
      return fixedNumbers(proto.doubleData);
    case "int64":
      return bytesOf(varints64(proto.int64Data));
    case "uint64":
      return bytesOf(varints64(proto.uint64Data));
    case "uint32":
      return bytesOf(varints32(proto.uint64Data));
    case "int32":
      return bytesOf(varints32(proto.int32Data));
    case "string":
      return encodeStrings(proto.stringData);
  }
  const [min, max] = MIN_MAX[dtype]!;
  const numbers = varints32(proto.int32Data);
  const bad = numbers.find((value) => value < min || value > max);
  if (bad !== undefined) {
    // Some exporters write a pair of nibbles as a signed number; it is one byte in either case.
    const signedPair = (dtype === "int4" || dtype === "uint4") && bad >= -128 && bad < 0;
    if (!signedPair) {
      throw new BadInputError(`${where}: int32_data has a value outside ${dtype}: ${bad}`);
    }
  }
  const wide = dtype === "uint16" || dtype === "int16" || dtype === "float16" ||
    dtype === "bfloat16";
  return bytesOf(wide ? Uint16Array.from(numbers) : Uint8Array.from(numbers));
}

function wholeNumber(text: string | undefined, key: string, where: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) {
    throw new BadInputError(
      `${where}: external data's ${key} is not a size: current value is "${text}"`,
    );
  }
  return Number(text);
}

/** Bytes of a tensor outside the model; `expected` is their number. */
export function externalBytes(
  proto: Proto<"TensorProto">,
  expected: number,
  where: string,
  context: DecodeContext,
): Uint8Array {
  const entries = new Map(proto.externalData.map(({ key, value }) => [key, value]));
  if (entries.size !== proto.externalData.length) {
    throw new BadInputError(`${where}: external data names a key twice`);
  }
  const location = entries.get("location") ?? "";
  if (location === "") throw new BadInputError(`${where}: external data has no location`);
  const offset = wholeNumber(entries.get("offset"), "offset", where) ?? 0;
  const length = wholeNumber(entries.get("length"), "length", where) ?? expected;
  if (length !== expected) {
    throw new BadInputError(
      `${where}: its type and dimensions need ${expected} bytes: external data has ${length}`,
    );
  }
  if (context.external === undefined) {
    throw new BadInputError(
      `${where}: its data is in "${location}": load the model from its folder`,
    );
  }
  let bytes: Uint8Array;
  try {
    bytes = context.external({ location, offset, length });
  } catch (error) {
    if (!(error instanceof BadInputError)) throw error;
    throw new BadInputError(`${where}: ${error.message}`, { cause: error });
  }
  if (bytes.byteLength !== length) {
    throw new BadInputError(
      `${where}: "${location}" has ${bytes.byteLength} of its ${length} bytes at ${offset}`,
    );
  }
  return bytes;
}
