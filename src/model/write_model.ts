/** Writes an edited model as a folder like the one it came from. */
import { basename, dirname, isAbsolute, join, relative, resolve } from "@std/path";
import { BadInputError, UsageError } from "../errors.ts";
import { isPending, withTensors } from "../graph/pending.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { encodeModelChunks, type ExternalRef } from "../onnx/mod.ts";
import { resolveExternalData } from "./external_data.ts";
import { layoutLike } from "./external_layout.ts";
import type { StagedDirectory, StagedFile } from "./staged_directory.ts";

/** A model as loaded and the path of its `.onnx` file. */
export interface BaseModel {
  readonly path: string;
  readonly model: Model;
}

/** Takes the finished contents of one pending initializer. */
export type WriteTensor = (name: string, tensor: Tensor) => void;

/**
 * Writes a model's files into a staged folder: the base's other files (tokenizer, configurations),
 * the model under its own file name, data files under theirs. Tensors go to disk one by one; only
 * those inside the model file are held.
 *
 * @param model an edit of `base.model`; pending initializers are filled by `fill`
 * @param fill computes them, calling its argument once for each
 * @returns what `fill` returned
 * @throws {StorageError} naming the path
 */
export async function writeModel<T>(
  staged: StagedDirectory,
  base: BaseModel,
  model: Model,
  fill: (write: WriteTensor) => Promise<T>,
): Promise<T> {
  const { places, asInBase } = layoutLike(base.model, model, `${basename(base.path)}.data`);
  const files = new Map<string, StagedFile>();
  const put = (ref: ExternalRef, bytes: Uint8Array) => {
    let file = files.get(ref.location);
    if (file === undefined) {
      if (asInBase) staged.copy(resolveExternalData(base.path, ref.location), ref.location);
      files.set(ref.location, file = staged.open(ref.location));
    }
    file.write(ref.offset, bytes);
  };
  try {
    copyOthers(staged, base.path, new Set([...places.values()].map(({ location }) => location)));
    const inside = new Map<string, Tensor>();
    const result = await fill((name, tensor) => {
      const pending = model.graph.initializers.get(name);
      const ref = pending && places.get(pending);
      if (ref === undefined) inside.set(name, tensor);
      else put(ref, tensor.bytes);
    });
    for (const [tensor, ref] of places) {
      if (isPending(tensor)) continue;
      if (!asInBase) put(ref, tensor.bytes);
      else if (!files.has(ref.location)) put(ref, tensor.bytes.subarray(0, 0));
    }
    const chunks = encodeModelChunks(withTensors(model, inside), {
      external: (_, tensor) => places.get(tensor),
    });
    staged.write(basename(base.path), chunks);
    return result;
  } finally {
    for (const file of files.values()) file[Symbol.dispose]();
  }
}

/** Other ONNX files and their data are other models. */
const OTHER_MODEL = /\.onnx([._]data.*)?$/;

function copyOthers(staged: StagedDirectory, modelPath: string, data: ReadonlySet<string>): void {
  const folder = dirname(modelPath);
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory || name === basename(modelPath) || data.has(name)) continue;
    if (OTHER_MODEL.test(name) || name.startsWith(".")) continue;
    try {
      // The same rule as for data files: nothing from outside the model's folder is copied.
      staged.copy(resolveExternalData(modelPath, name), name);
    } catch (error) {
      if (!(error instanceof BadInputError)) throw error;
      throw new BadInputError(`Cannot copy ${join(folder, name)}: ${error.message}`, {
        cause: error,
      });
    }
  }
}

/**
 * Refuses to write over the base.
 *
 * @throws {UsageError} naming both
 */
export function checkNotBase(target: string, modelPath: string): void {
  checkSpares(target, dirname(modelPath), `the base model ${modelPath}, which is never changed`);
}

/**
 * Refuses a target that is, or holds, something that writing there would take away.
 *
 * @param kept path of a file or folder that must stay
 * @param what it is, for the message
 * @throws {UsageError} naming both
 */
export function checkSpares(target: string, kept: string, what: string): void {
  const within = relative(realPath(target), realPath(kept));
  if (within !== "" && (within.startsWith("..") || isAbsolute(within))) return;
  throw new UsageError(`Cannot write ${target}: it holds ${what}; choose another path`);
}

/** The path without links; one that does not exist yet is none. */
function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return resolve(path);
  }
}
