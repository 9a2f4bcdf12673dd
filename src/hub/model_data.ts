/** The data files of a model during a pull, before it is in a folder with them. */
import { dirname, join } from "@std/path";
import { BadInputError } from "../errors.ts";
import { decodeModel, externalLocations } from "../onnx/mod.ts";
import { openMapped } from "../system/mapped_file.ts";
import type { RepositoryFile } from "./api.ts";
import { checkFilePath } from "./names.ts";

/**
 * The repository's files in which a model keeps data, by the locations that it names.
 *
 * @param path of the model in the repository
 * @param at path of its file on the disk
 * @param byPath all of the repository's files
 * @throws {BadInputError} if it is not a model, or its data is outside the model's folder or the
 * repository
 */
export function dataFilesOf(
  path: string,
  at: string,
  byPath: ReadonlyMap<string, RepositoryFile>,
): ReadonlyMap<string, RepositoryFile> {
  using mapped = openMapped(at);
  const found = new Map<string, RepositoryFile>();
  for (const location of externalLocations(mapped.bytes, path)) {
    // Below the folder of the model, as loading requires.
    const below = checkFilePath(plain(location), path);
    const file = byPath.get(join(dirname(path), below));
    if (file === undefined) {
      throw new BadInputError(
        `${path} keeps weights in "${below}", which the repository does not have`,
      );
    }
    found.set(location, file);
  }
  return found;
}

/** Normalises a path: `./a//b` is `a/b`. */
function plain(path: string): string {
  return path.replace(/\/{2,}/g, "/").replace(/(^|\/)(\.\/)+/g, "$1");
}

/**
 * Reads a model with its data, so that errors are reported now and not when it is used.
 *
 * @param path its name, for messages
 * @param at path of its file on the disk
 * @param data paths of its data on the disk, by the locations that the model names
 * @throws {BadInputError} for an invalid model
 */
export function checkModel(path: string, at: string, data: ReadonlyMap<string, string>): void {
  using opened = new DisposableStack();
  const bytes = new Map(
    [...data].map(([location, file]) => [location, opened.use(openMapped(file)).bytes]),
  );
  decodeModel(opened.use(openMapped(at)).bytes, {
    file: path,
    external: ({ location, offset, length }) =>
      bytes.get(location)!.subarray(offset, offset + length),
  });
}
