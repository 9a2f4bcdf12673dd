/**
 * Passes large initializers to ONNX Runtime without a copy in the protobuf.
 *
 * Tensors in a mapped file are declared as external data of that file: ORT maps the same pages, and the
 * weights take no anonymous memory. Other tensors are passed by `AddExternalInitializers`, and ORT keeps
 * a single copy of them.
 */
import { isShapeList } from "../graph/shape_list.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { encodeModel, type ExternalRef } from "../onnx/mod.ts";
import { locateMapped } from "../system/mapped_file.ts";
import { isBefore, type Release } from "./release_limits.ts";

/** Smallest initializer that stays outside the protobuf, except lists of sizes. */
const EXTERNAL_FROM_BYTES = 1024;
/** First release with the session option for the folder of external data of a model in memory. */
const FOLDER_OPTION_SINCE = [1, 22, 0] as const;
const FOLDER_OPTION = "session.model_external_initializers_file_folder_path";

/** An encoded model, with the settings that its session needs. */
export interface PlacedModel {
  readonly bytes: Uint8Array;
  /** Session configuration entries. */
  readonly config: Readonly<Record<string, string>>;
  /** Initializers to pass by name. */
  readonly handed: ReadonlyMap<string, Tensor>;
}

/** Encodes `model` for ORT `version` with its large initializers outside. */
export function placeInitializers(
  model: Model,
  version: Release,
): PlacedModel {
  const canName = !isBefore(version, FOLDER_OPTION_SINCE);
  const handed = new Map<string, Tensor>();
  let folder: string | undefined;

  const named = (tensor: Tensor): ExternalRef | undefined => {
    const place = canName ? locateMapped(tensor.bytes) : undefined;
    if (place === undefined) return undefined;
    const slash = place.path.lastIndexOf("/");
    // A session reads external data from only one folder.
    folder ??= place.path.slice(0, slash);
    if (place.path.slice(0, slash) !== folder) return undefined;
    return {
      location: place.path.slice(slash + 1),
      offset: place.offset,
      length: tensor.bytes.byteLength,
    };
  };

  const bytes = encodeModel(model, {
    external: (name, tensor) => {
      const size = tensor.bytes.byteLength;
      // AddExternalInitializers does not support tensors in attributes and subgraphs.
      const isInitializer = model.graph.initializers.get(name)?.bytes === tensor.bytes;
      if (size < EXTERNAL_FROM_BYTES || !isInitializer || isShapeList(tensor)) return "inline";
      const ref = named(tensor);
      if (ref !== undefined) return ref;
      handed.set(name, tensor);
      return { location: "handed over", offset: 0, length: size };
    },
  });
  return { bytes, handed, config: folder === undefined ? {} : { [FOLDER_OPTION]: folder || "/" } };
}
