/** Model → ONNX bytes. */
import { modelProto } from "./model_proto.ts";
import type { Model } from "../graph/types.ts";
import { chunksOf, concatenated } from "./chunks.ts";
import { type ExternalChoice, externalise } from "./external.ts";

/** Options of {@linkcode encodeModel}: where tensor data is stored. */
export interface EncodeOptions {
  /**
   * Called for every tensor in the model: an {@linkcode ExternalRef} gives the file range beside the
   * model that has its data, `"inline"` puts it into the model. Without a result a tensor from a file
   * stays as it was there (in the same external range, if it had one), and a new one is inline.
   */
  readonly external?: ExternalChoice;
}

/** The bytes of a model. Parts that were not changed since `decodeModel` are written as they were read. */
export function encodeModel(model: Model, options: EncodeOptions = {}): Uint8Array {
  return concatenated(encodeModelChunks(model, options));
}

/**
 * The bytes of a model as chunks to be written in order; large inline tensors are views, so that writing
 * a model needs no second copy of its weights.
 */
export function encodeModelChunks(model: Model, options: EncodeOptions = {}): Uint8Array[] {
  let proto = modelProto(model);
  if (options.external !== undefined) proto = externalise(proto, options.external);
  return chunksOf("ModelProto", proto);
}
