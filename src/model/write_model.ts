/** Writes an edited model as a folder like the one it came from. */
import { basename, dirname, isAbsolute, join, relative, resolve } from "@std/path";
import { BadInputError, UsageError } from "../errors.ts";
import { isPending } from "../graph/pending.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import type { WriteBytes } from "../lora/merge/plan.ts";
import { encodeModelChunks, externalRefOf } from "../onnx/mod.ts";
import { resolveExternalData } from "./external_data.ts";
import { layoutLike } from "./external_layout.ts";
import { homeOf } from "./find_model.ts";
import { InsideModel } from "./inside_model.ts";
import type { StagedDirectory, StagedFile } from "./staged_directory.ts";

/** A model as loaded and the path of its `.onnx` file. */
export interface BaseModel {
  readonly path: string;
  readonly model: Model;
}

/**
 * Writes a model's files into a staged folder: the base's other files (tokenizer, configurations),
 * the model under its own file name, data files under theirs. What `fill` computes goes to its
 * place at once, in a data file or in the model file itself; only tensors of a few kilobytes in the
 * model file are held to the end.
 *
 * @param model an edit of `base.model`; pending initializers are filled by `fill`
 * @param fill computes them, calling its argument for each, for the whole or for ranges
 * @returns what `fill` returned
 * @throws {StorageError} naming the path
 */
export async function writeModel<T>(
  staged: StagedDirectory,
  base: BaseModel,
  model: Model,
  fill: (write: WriteBytes) => Promise<T>,
): Promise<T> {
  const { places, asInBase } = layoutLike(base.model, model, `${basename(base.path)}.data`);
  const files = new Map<string, StagedFile>();
  const put = (location: string, offset: number, bytes: Uint8Array) => {
    let file = files.get(location);
    if (file === undefined) {
      if (asInBase && location !== modelFile) {
        staged.copy(resolveExternalData(base.path, location), location);
      }
      files.set(location, file = staged.open(location));
    }
    file.write(offset, bytes);
  };
  const modelFile = basename(base.path);
  if ([...places.values()].some(({ location }) => location === modelFile)) {
    throw new BadInputError(
      `Cannot write the model anew: its data lies in "${modelFile}", the model's own file`,
    );
  }
  try {
    copyOthers(staged, base.path, new Set([...places.values()].map(({ location }) => location)));
    const external = (_: string, tensor: Tensor) => places.get(tensor);
    const inside = new InsideModel(
      model,
      places,
      (model) => encodeModelChunks(model, { external }),
    );
    const result = await fill((name, bytes, at = 0) => {
      const pending = model.graph.initializers.get(name);
      const ref = pending && places.get(pending);
      if (ref !== undefined) return put(ref.location, ref.offset + at, bytes);
      const offset = inside.offsetOf(name);
      if (offset === undefined) inside.hold(name, bytes, at);
      else put(modelFile, offset + at, bytes);
    });
    for (const [tensor, ref] of places) {
      if (isPending(tensor)) continue;
      // A new tensor in the place of the base's differs from what was copied.
      if (!asInBase || externalRefOf(tensor) === undefined) {
        put(ref.location, ref.offset, tensor.bytes);
      } else if (!files.has(ref.location)) put(ref.location, 0, NOTHING);
    }
    for (const [offset, chunk] of inside.rest()) put(modelFile, offset, chunk);
    return result;
  } finally {
    for (const file of files.values()) file[Symbol.dispose]();
  }
}

const NOTHING = new Uint8Array();

/** Other ONNX files and their data are other models. */
const OTHER_MODEL = /\.onnx([._]data.*)?$/;

function copyOthers(staged: StagedDirectory, modelPath: string, data: ReadonlySet<string>): void {
  const [folder, home] = [dirname(modelPath), homeOf(modelPath)];
  if (home !== folder) copyFrom(staged, join(home, basename(modelPath)), data);
  copyFrom(staged, modelPath, data);
}

function copyFrom(staged: StagedDirectory, modelPath: string, data: ReadonlySet<string>): void {
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
