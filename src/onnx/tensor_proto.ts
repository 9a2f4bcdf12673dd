/** `TensorProto` ↔ Tensor. */
import { BadInputError } from "../errors.ts";
import { byteLength, type DataType, dataTypeOf, ONNX_TYPE } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { EXTERNAL, type Proto } from "./schema.ts";
import {
  overlay,
  protoOfTensor,
  rememberContents,
  rememberTensor,
  tensorOfProto,
} from "./sources.ts";
import { decodeStrings, encodeStrings } from "./string_tensor.ts";

/** A stretch of a file beside the model. `location` is relative to the model's folder. */
export interface ExternalRef {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** What decoding needs beyond the message at hand. */
export interface DecodeContext {
  /** The model file's name, for messages. */
  readonly file: string;
  /** Bytes of external data; absent where the caller has no files. */
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

/** Bytes of values that lie in one of the typed fields instead of `raw_data`. */
function typedBytes(proto: Proto<"TensorProto">, dtype: DataType, where: string): Uint8Array {
  switch (dtype) {
    case "float32":
      return bytesOf(Float32Array.from(proto.floatData));
    case "float64":
      return bytesOf(Float64Array.from(proto.doubleData));
    case "int64":
      return bytesOf(BigInt64Array.from(proto.int64Data));
    case "uint64":
      return bytesOf(BigUint64Array.from(proto.uint64Data));
    case "uint32":
      return bytesOf(Uint32Array.from(proto.uint64Data, Number));
    case "int32":
      return bytesOf(Int32Array.from(proto.int32Data));
    case "string":
      return encodeStrings(proto.stringData);
  }
  const [min, max] = MIN_MAX[dtype]!;
  const bad = proto.int32Data.find((value) => value < min || value > max);
  if (bad !== undefined) {
    // A nibble pair is written signed by some exporters: 4-bit data is whole bytes all the same.
    const signedPair = (dtype === "int4" || dtype === "uint4") && bad >= -128 && bad < 0;
    if (!signedPair) {
      throw new BadInputError(`${where}: int32_data has a value outside ${dtype}: ${bad}`);
    }
  }
  const wide = dtype === "uint16" || dtype === "int16" || dtype === "float16" ||
    dtype === "bfloat16";
  return bytesOf(wide ? Uint16Array.from(proto.int32Data) : Uint8Array.from(proto.int32Data));
}

/** Dimensions as sizes; refuses negative ones and those whose element count overflows. */
export function decodeDims(dims: readonly bigint[], where: string): number[] {
  let count = 1;
  const sizes = dims.map((dim) => {
    if (dim < 0n) {
      throw new BadInputError(`${where}: a dimension is negative: current value is ${dim}`);
    }
    const size = Number(dim);
    count *= size;
    if (!Number.isSafeInteger(size) || !Number.isSafeInteger(count)) {
      throw new BadInputError(`${where}: dimensions [${dims}] overflow`);
    }
    return size;
  });
  return sizes;
}

function wholeNumber(text: string | undefined, key: string, where: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) {
    throw new BadInputError(
      `${where}: external data's ${key} is no size: current value is "${text}"`,
    );
  }
  return Number(text);
}

function externalBytes(
  proto: Proto<"TensorProto">,
  expected: number | undefined,
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
  if (length === undefined) {
    throw new BadInputError(`${where}: external data of strings is not supported`);
  }
  if (expected !== undefined && length !== expected) {
    throw new BadInputError(
      `${where}: its type and dimensions need ${expected} bytes: external data has ${length}`,
    );
  }
  if (context.external === undefined) {
    throw new BadInputError(
      `${where}: its data lies in "${location}": load the model from its folder`,
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

/** Decodes a tensor once: the same message gives the same object. Raw data is a view, not a copy. */
export function decodeTensor(
  proto: Proto<"TensorProto">,
  place: string,
  context: DecodeContext,
): Tensor {
  const known = tensorOfProto(proto);
  if (known !== undefined) return known;
  const where = `${context.file}: ${place}`;
  const dtype = dataTypeOf(proto.dataType);
  if (dtype === undefined) {
    throw new BadInputError(
      `${where}: element type ${proto.dataType} is unknown or not supported: supported are ${
        Object.keys(ONNX_TYPE).join(", ")
      }`,
    );
  }
  const dims = decodeDims(proto.dims, where);
  const count = elementCount(dims);
  const size = dtype === "string" ? undefined : byteLength(dtype, count);
  if (proto.segment !== undefined) {
    throw new BadInputError(`${where}: tensors in segments are not supported: save the model anew`);
  }
  const raw = Object.hasOwn(proto, "rawData") ? proto.rawData : undefined;
  const isExternal = proto.dataLocation === EXTERNAL || proto.externalData.length > 0;
  const typed = [
    proto.floatData,
    proto.int32Data,
    proto.int64Data,
    proto.doubleData,
    proto.uint64Data,
    proto.stringData,
  ].filter((list) => list.length > 0);
  const sources = (raw !== undefined && raw.byteLength > 0 ? 1 : 0) + typed.length +
    (isExternal ? 1 : 0);
  if (sources > 1) throw new BadInputError(`${where}: its data is given more than once`);
  let bytes: Uint8Array;
  if (isExternal) bytes = externalBytes(proto, size, where, context);
  else if (raw !== undefined && typed.length === 0 && dtype !== "string") bytes = raw;
  else bytes = typedBytes(proto, dtype, where);
  if (dtype === "string") {
    const found = proto.stringData.length;
    if (found !== count) {
      throw new BadInputError(`${where}: string[${dims}] needs ${count} strings: it has ${found}`);
    }
  } else if (bytes.byteLength !== size) {
    throw new BadInputError(
      `${where}: ${dtype}[${dims}] needs ${size} bytes: it has ${bytes.byteLength}`,
    );
  }
  const tensor: Tensor = { dtype, dims, bytes };
  rememberTensor(tensor, proto);
  return tensor;
}

/**
 * The message of a tensor: the very one it was read from while neither it nor its name changed,
 * else one with the contents in `raw_data`.
 *
 * @param previous the message that had this place before; its documentation is kept.
 */
export function encodeTensor(
  name: string,
  tensor: Tensor,
  previous?: Proto<"TensorProto">,
): Proto<"TensorProto"> {
  const source = protoOfTensor(tensor);
  if (source?.name === name) return source;
  const strings = tensor.dtype === "string" ? decodeStrings(tensor.bytes) : undefined;
  const made = source !== undefined
    ? overlay("TensorProto", source, { name })
    : overlay("TensorProto", previous, {
      dims: tensor.dims.map(BigInt),
      dataType: ONNX_TYPE[tensor.dtype],
      name: name === "" ? undefined : name,
      rawData: strings === undefined ? tensor.bytes : undefined,
      floatData: [],
      int32Data: [],
      int64Data: [],
      doubleData: [],
      uint64Data: [],
      stringData: strings ?? [],
      externalData: [],
      dataLocation: undefined,
    });
  rememberContents(made, tensor);
  return made;
}
