/** `.onnx_adapter` files on disk. */
import { BadInputError } from "../errors.ts";
import { decodeOnnxAdapter, type OnnxAdapter } from "../lora/onnx_adapter.ts";
import { readSmallFile } from "../system/small_file.ts";

const SUFFIX = ".onnx_adapter";
const MOST_BYTES = 2 ** 30;

/** Whether a path names such a file, by its name. */
export function isOnnxAdapter(path: string): boolean {
  return path.endsWith(SUFFIX);
}

/** @throws {BadInputError} for a file that is missing or is no adapter */
export function loadOnnxAdapter(path: string): OnnxAdapter {
  const bytes = readSmallFile(path, MOST_BYTES);
  if (bytes !== undefined) return decodeOnnxAdapter(bytes, path);
  throw new BadInputError(`${path}: there is no such file`);
}
