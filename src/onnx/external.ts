/** Moving tensor data between the model and files beside it. */
import { isShapeList } from "../graph/shape_list.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { chunksOf, concatenated } from "./chunks.ts";
import { modelProto } from "./model_proto.ts";
import { mapTensors } from "./every_tensor.ts";
import { externalRefOf } from "./external_ref.ts";
import { EXTERNAL, type Proto } from "./schema.ts";
import { overlay, tensorOfProto } from "./sources.ts";
import type { ExternalRef } from "./tensor_data.ts";

/** Chooses where a tensor's data is stored; `undefined` leaves it in place. */
export type ExternalChoice = (name: string, tensor: Tensor) => ExternalRef | "inline" | undefined;

/** The message with tensor data moved as `choose` decides. String tensors always stay inside. */
export function externalise(
  model: Proto<"ModelProto">,
  choose: ExternalChoice,
): Proto<"ModelProto"> {
  return mapTensors("ModelProto", model, (proto) => {
    const tensor = tensorOfProto(proto);
    if (tensor === undefined || tensor.dtype === "string") return proto;
    const choice = choose(proto.name, tensor);
    if (choice === undefined) return proto;
    const isExternal = proto.dataLocation === EXTERNAL;
    if (choice === "inline" && !isExternal) return proto;
    return overlay("TensorProto", proto, {
      floatData: [],
      int32Data: [],
      int64Data: [],
      doubleData: [],
      uint64Data: [],
      ...(choice === "inline"
        ? { rawData: tensor.bytes, externalData: [], dataLocation: undefined }
        : { rawData: undefined, externalData: entriesOf(choice), dataLocation: EXTERNAL }),
    });
  });
}

function entriesOf({ location, offset, length }: ExternalRef): Proto<"StringStringEntryProto">[] {
  const entry = (key: string, value: string) =>
    overlay("StringStringEntryProto", undefined, { key, value });
  return [
    entry("location", location),
    entry("offset", String(offset)),
    entry("length", String(length)),
  ];
}

/** Layout of the data file of {@linkcode encodeModelWithExternalData}. */
export interface ExternalLayout {
  /** Tensors of fewer bytes stay in the model, and so do lists of sizes. Default 1024. */
  readonly threshold?: number;
  /** Alignment of large tensors in bytes, so that they can be mapped. Default 4096. */
  readonly align?: number;
}

/** Smallest tensor that begins on a page boundary; ONNX Runtime's writer uses the same limit. */
const PAGED_BYTES = 1 << 20;
/** Alignment of smaller ones: a cache line, a multiple of every element type's alignment. */
const SMALL_ALIGN = 64;

/** A model file and the data file beside it. */
export interface EncodedWithData {
  /** The model file. */
  readonly model: Uint8Array;
  /** Chunks to write in order; tensors are views, nothing is copied. */
  readonly data: readonly Uint8Array[];
}

/**
 * The bytes of a model whose tensors are stored in one file beside it, named `location`.
 *
 * Initializers of at least `threshold` bytes move there, and so does any other tensor whose data was in
 * a file before; tensors inside attributes and subgraphs stay inside, because not every reader supports
 * external data there. A tensor that is used several times is stored once.
 *
 * @param location the data file's name, relative to the model's folder.
 *
 * @example
 * ```ts
 * import { decodeModel, encodeModelWithExternalData } from "./mod.ts";
 *
 * const file = "models/all-minilm-l6-v2-int8/model.onnx";
 * const source = decodeModel(await Deno.readFile(file), { file });
 * const { model, data } = encodeModelWithExternalData(source, "copy.onnx.data");
 * await Deno.writeFile("copy.onnx", model);
 * await Deno.writeFile("copy.onnx.data", ReadableStream.from(data));
 * ```
 */
export function encodeModelWithExternalData(
  model: Model,
  location: string,
  { threshold = 1024, align = 4096 }: ExternalLayout = {},
): EncodedWithData {
  const data: Uint8Array[] = [];
  const placed = new Map<Uint8Array, ExternalRef>();
  let end = 0;
  const initializers = new Set(model.graph.initializers.values());
  const proto = externalise(modelProto(model), (_name, tensor) => {
    const { bytes } = tensor;
    const mayMove = initializers.has(tensor) || externalRefOf(tensor) !== undefined;
    if (!mayMove || bytes.byteLength < threshold || isShapeList(tensor)) return "inline";
    const known = placed.get(bytes);
    if (known !== undefined) return known;
    const step = bytes.byteLength >= PAGED_BYTES ? align : SMALL_ALIGN;
    const offset = Math.ceil(end / step) * step;
    if (offset > end) data.push(new Uint8Array(offset - end));
    data.push(bytes);
    end = offset + bytes.byteLength;
    const ref = { location, offset, length: bytes.byteLength };
    placed.set(bytes, ref);
    return ref;
  });
  return { model: concatenated(chunksOf("ModelProto", proto)), data };
}
