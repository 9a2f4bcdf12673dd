/** Loads an ONNX file with the data files beside it. */
import { BadInputError, StorageError } from "../errors.ts";
import { qoperatorsToQdq } from "../graph/passes/qoperators_to_qdq.ts";
import type { Model } from "../graph/types.ts";
import { decodeModel, type ExternalRef } from "../onnx/mod.ts";
import { openMapped } from "../system/mapped_file.ts";
import { type OpenFile, resolveExternalData } from "./external_data.ts";

/** A model whose tensors are views of files; they stay readable until it is disposed of. */
export interface LoadedModel extends Disposable {
  /** The model; large tensors are views of the mapped file. */
  readonly model: Model;
  /** Real paths of the model file and its data files, in the order they were opened. */
  readonly files: readonly string[];
  /** Bytes of all of these files. */
  readonly sizeBytes: number;
}

function modelFile(path: string): string {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new BadInputError(`Cannot load model "${path}": there is no such file`);
    }
    throw new StorageError(`Cannot load model "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (!info.isFile) {
    throw new BadInputError(`Cannot load model "${path}": it is not a regular file`);
  }
  return Deno.realPathSync(path);
}

/**
 * Maps a model file and its external data and decodes it; operators on quantised activations become
 * those that all verbs know (see `qoperatorsToQdq()`).
 *
 * @param path of the `.onnx` file; data files are looked for in this path's folder, not in that of
 * a file it links to.
 * @param open how files are opened.
 * @throws {BadInputError} for a file that is missing or no sound model, and for external data that
 * lies, or could lie, outside the model's folder; no such file is opened.
 * @throws {StorageError} for one that cannot be read.
 *
 * @example
 * ```ts
 * import { loadOnnx } from "./load_onnx.ts";
 *
 * using loaded = loadOnnx("models/all-minilm-l6-v2-int8/model.onnx");
 * console.log(loaded.model.graph.nodes.length, loaded.sizeBytes);
 * ```
 */
export function loadOnnx(path: string, open: (path: string) => OpenFile = openMapped): LoadedModel {
  const opened = new Map<string, OpenFile>();
  const close = () => {
    for (const file of opened.values()) file[Symbol.dispose]();
    opened.clear();
  };
  const bytesOf = (realPath: string): Uint8Array => {
    let file = opened.get(realPath);
    if (file === undefined) opened.set(realPath, file = open(realPath));
    return file.bytes;
  };
  const resolved = new Map<string, string>();
  const external = ({ location, offset, length }: ExternalRef): Uint8Array => {
    let real = resolved.get(location);
    if (real === undefined) resolved.set(location, real = resolveExternalData(path, location));
    const bytes = bytesOf(real);
    if (offset + length > bytes.byteLength) {
      throw new BadInputError(
        `bytes ${offset} to ${
          offset + length
        } pass the end of "${location}", which has ${bytes.byteLength}`,
      );
    }
    return bytes.subarray(offset, offset + length);
  };
  try {
    const decoded = decodeModel(bytesOf(modelFile(path)), { file: path, external });
    const model = qoperatorsToQdq(decoded);
    const files = [...opened.keys()];
    const sizeBytes = [...opened.values()].reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    return { model, files, sizeBytes, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}
