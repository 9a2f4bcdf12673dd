/** `ValueInfoProto` ↔ ValueInfo. */
import { BadInputError } from "../errors.ts";
import { dataTypeOf, ONNX_TYPE } from "../graph/dtype.ts";
import type { Dim, ValueInfo, ValueType } from "../graph/types.ts";
import type { Proto } from "./schema.ts";
import { overlay, protoOfType, rememberType } from "./sources.ts";
import type { DecodeContext } from "./tensor_data.ts";

function decodeDim(
  proto: Proto<"TensorShapeProto_Dimension">,
  name: string,
  axis: number,
  context: DecodeContext,
): Dim {
  if (Object.hasOwn(proto, "dimValue")) {
    const size = Number(proto.dimValue);
    // Exporters other than PyTorch's write -1 for an unknown dimension.
    if (size === -1) return unknownDim(name, axis);
    if (size < 0 || !Number.isSafeInteger(size)) {
      throw new BadInputError(
        `${context.file}: value "${name}": dimension ${axis} is not a size: current value is ${proto.dimValue}`,
      );
    }
    return size;
  }
  return proto.dimParam !== "" ? proto.dimParam : unknownDim(name, axis);
}

/** An unknown dimension equals no other one: it gets a unique name. */
const unknownDim = (name: string, axis: number) => `?${name}.${axis}`;

/** Decodes a value's name and, for a dense tensor of a type graft knows, its type. */
export function decodeValueInfo(
  proto: Proto<"ValueInfoProto">,
  context: DecodeContext,
): ValueInfo {
  const tensorType = proto.type?.tensorType;
  // 0 is "undefined", which shape inference leaves behind on values it could not follow.
  if (tensorType === undefined || tensorType.elemType === 0) {
    return { name: proto.name, rest: proto };
  }
  const dtype = dataTypeOf(tensorType.elemType);
  if (dtype === undefined) {
    throw new BadInputError(
      `${context.file}: value "${proto.name}": element type ${tensorType.elemType} is unknown or not supported: supported are ${
        Object.keys(ONNX_TYPE).join(", ")
      }`,
    );
  }
  const type: ValueType = {
    dtype,
    ...(tensorType.shape && {
      shape: tensorType.shape.dim.map((dim, axis) => decodeDim(dim, proto.name, axis, context)),
    }),
  };
  rememberType(type, proto.type!);
  return { name: proto.name, type, rest: proto };
}

function encodeType(type: ValueType): Proto<"TypeProto"> {
  const source = protoOfType(type);
  if (source !== undefined) return source;
  const shape = type.shape && overlay("TensorShapeProto", undefined, {
    dim: type.shape.map((dim) =>
      overlay(
        "TensorShapeProto_Dimension",
        undefined,
        typeof dim === "number" ? { dimValue: BigInt(dim) } : { dimParam: dim },
      )
    ),
  });
  return overlay("TypeProto", undefined, {
    tensorType: overlay("TypeProto_Tensor", undefined, { elemType: ONNX_TYPE[type.dtype], shape }),
  });
}

/** The message of a value: the one it was read from if nothing in it changed. */
export function encodeValueInfo(value: ValueInfo): Proto<"ValueInfoProto"> {
  return overlay("ValueInfoProto", value.rest as Proto<"ValueInfoProto"> | undefined, {
    name: value.name,
    ...(value.type && { type: encodeType(value.type) }),
  });
}
