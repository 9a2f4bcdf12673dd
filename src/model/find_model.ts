/** The ONNX file of a model folder. */
import { basename, dirname, join } from "@std/path";
import { BadInputError, StorageError } from "../errors.ts";
import { findPulledModel } from "../hub/pulled.ts";
import { withCarried } from "./carried_model.ts";
import { readSmallText } from "../system/small_file.ts";

/**
 * Path of the model file: `path` itself where it is a file; in a folder what `genai_config.json`
 * names, else `model.onnx`, `onnx/model.onnx`, or the only `.onnx` file. Where nothing has the path,
 * `default` is the model that graft carries, and others are names of pulled models.
 *
 * @throws {BadInputError} where there is none, or more than one to choose from
 */
export function findModelFile(path: string): string {
  const info = look(path);
  if (info === undefined) {
    const carried = withCarried(path);
    if (carried !== path) return findModelFile(carried);
    const pulled = findPulledModel(path);
    if (pulled !== undefined) return pulled;
    throw new BadInputError(
      `Cannot load model "${path}": there is no such file or folder, and no pulled model has the ` +
        "name: `graft list` shows those, `graft pull` gets one",
    );
  }
  if (!info.isDirectory) return path;
  const named = genaiFile(path);
  for (const name of named === undefined ? ["model.onnx", "onnx/model.onnx"] : [named]) {
    if (look(join(path, name))?.isFile) return join(path, name);
  }
  const found = [...Deno.readDirSync(path)].map(({ name }) => name).filter((name) =>
    name.endsWith(".onnx")
  );
  if (named === undefined && found.length === 1) return join(path, found[0]);
  throw new BadInputError(
    found.length === 0
      ? `Cannot load model "${path}": the folder has no .onnx file`
      : `Cannot load model "${path}": name one of its files: ${found.sort().join(", ")}`,
  );
}

/**
 * The folder with a model's tokenizer and configuration: that of the file, or the one above where
 * the models have a folder `onnx` of their own, as exports for the web do.
 */
export function homeOf(modelFile: string): string {
  const folder = dirname(modelFile);
  if (basename(folder) !== "onnx" || look(join(folder, "tokenizer.json")) !== undefined) {
    return folder;
  }
  const above = dirname(folder);
  return look(join(above, "tokenizer.json")) === undefined ? folder : above;
}

function look(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw new StorageError(`Cannot look at "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The decoder's file name in onnxruntime-genai's configuration. */
function genaiFile(directory: string): string | undefined {
  const path = join(directory, "genai_config.json");
  const text = readSmallText(path);
  if (text === undefined) return undefined;
  try {
    const name = JSON.parse(text).model?.decoder?.filename;
    // Only a plain name: the configuration must not lead out of the folder.
    return typeof name === "string" && !/[/\\]|^\.\.?$/.test(name) ? name : undefined;
  } catch (cause) {
    throw new BadInputError(`${path}: it is no JSON: ${(cause as Error).message}`, { cause });
  }
}
