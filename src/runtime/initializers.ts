/**
 * Large initializers on their way to ONNX Runtime, without a copy in the protobuf.
 *
 * What lies in a mapped file is named as external data of that file: ORT maps the same pages, and
 * the weights stay out of anonymous memory. Other tensors are handed over by `AddExternalInitializers`,
 * from which ORT makes the one copy that it keeps.
 */
import { isShapeList } from "../graph/shape_list.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { encodeModel, type ExternalRef } from "../onnx/mod.ts";
import { locateMapped } from "../system/mapped_file.ts";
import { isBefore, type Release } from "./release_limits.ts";

/** Initializers from this size on stay outside the protobuf, lists that say sizes aside. */
const EXTERNAL_FROM_BYTES = 1024;
/** First release with the session option that says where external data of a model in memory lies. */
const FOLDER_OPTION_SINCE = [1, 22, 0] as const;
const FOLDER_OPTION = "session.model_external_initializers_file_folder_path";

/** A model in bytes, and what its session needs beside them. */
export interface PlacedModel {
  readonly bytes: Uint8Array;
  /** Session configuration entries. */
  readonly config: Readonly<Record<string, string>>;
  /** Initializers to be handed over by name. */
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
    // One session reads external data from one folder.
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
      // Tensors in attributes and subgraphs are out of reach of AddExternalInitializers.
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
