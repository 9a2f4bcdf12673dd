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
import { packedBytes } from "./packed_numbers.ts";
import { decodeStrings } from "./string_tensor.ts";
import { type DecodeContext, externalBytes, typedBytes } from "./tensor_data.ts";

/** Dimensions as sizes; refuses negative ones and those whose element count overflows. */
function decodeDims(dims: readonly bigint[], where: string): number[] {
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
  if (proto.segment !== undefined) {
    throw new BadInputError(
      `${where}: tensors in segments are not supported: save the model again`,
    );
  }
  const dims = decodeDims(proto.dims, where);
  const bytes = dataOf(proto, dtype, elementCount(dims), where, context);
  const tensor: Tensor = { dtype, dims, bytes };
  rememberTensor(tensor, proto);
  return tensor;
}

/** The bytes of a tensor from the one place that has them; their number must match its type and shape. */
function dataOf(
  proto: Proto<"TensorProto">,
  dtype: DataType,
  count: number,
  where: string,
  context: DecodeContext,
): Uint8Array {
  const size = dtype === "string" ? undefined : byteLength(dtype, count);
  const isExternal = proto.dataLocation === EXTERNAL || proto.externalData.length > 0;
  const isRaw = proto.rawData.byteLength > 0;
  const { floatData, int32Data, int64Data, doubleData, uint64Data, stringData } = proto;
  const typed = [floatData, int32Data, int64Data, doubleData, uint64Data]
    .filter((records) => packedBytes(records) > 0).length + Number(stringData.length > 0);
  if (Number(isExternal) + Number(isRaw) + typed > 1) {
    throw new BadInputError(`${where}: its data is given more than once`);
  }
  if (dtype === "string") {
    const found = proto.stringData.length;
    if (found !== count) {
      throw new BadInputError(`${where}: ${count} strings are needed: it has ${found}`);
    }
    return typedBytes(proto, dtype, where);
  }
  const bytes = isExternal
    ? externalBytes(proto, size!, where, context)
    : isRaw
    ? proto.rawData
    : typedBytes(proto, dtype, where);
  if (bytes.byteLength !== size) {
    throw new BadInputError(
      `${where}: ${dtype}[${proto.dims}] needs ${size} bytes: it has ${bytes.byteLength}`,
    );
  }
  return bytes;
}

/**
 * The message of a tensor: the one it was read from if neither it nor its name changed, else one with
 * the contents in `raw_data`.
 *
 * @param previous the message that this one replaces; its documentation is kept.
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
