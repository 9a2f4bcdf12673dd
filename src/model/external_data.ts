/**
 * Which files a model may read its data from.
 *
 * A model names its data files itself, so the names are input like any other: a model from
 * anywhere must not make graft read, and then write into a merged model, a file that is none of its
 * own. Only regular files in the model's folder are allowed, and those that links there lead to in
 * the `blobs` folder of the same repository in a Hugging Face cache. ONNX Runtime's own checks
 * differ from release to release; these do not.
 */
import { dirname, join } from "@std/path";
import { BadInputError, StorageError } from "../errors.ts";

/** A file that can be read in place. */
export interface OpenFile extends Disposable {
  /** Contents of the file. */
  readonly bytes: Uint8Array;
}

/** Folders a model's data may lie in, as real paths. */
interface Roots {
  readonly folder: string;
  readonly blobs?: string;
}

function rootsOf(modelPath: string): Roots {
  const folder = Deno.realPathSync(dirname(modelPath));
  // models--org--name/{blobs/<digest>, snapshots/<revision>/…} as huggingface_hub lays it out.
  const parts = folder.split("/");
  const at = parts.findLastIndex((part, i) =>
    part === "snapshots" && /^(models|datasets)--/.test(parts[i - 1] ?? "")
  );
  if (at < 0 || at === parts.length - 1) return { folder };
  return { folder, blobs: [...parts.slice(0, at), "blobs"].join("/") };
}

const isWithin = (path: string, root: string) =>
  path.startsWith(root.endsWith("/") ? root : `${root}/`);

/**
 * The real path of a model's data file.
 *
 * Nothing is opened: names are refused as text, then links are followed and what they lead to is
 * looked at, so that a device or a pipe is never touched.
 *
 * @param location as the model gives it, relative to the model's folder.
 * @throws {BadInputError} for a location that leads, or could lead, out of the model's folder.
 */
export function resolveExternalData(modelPath: string, location: string): string {
  const name = JSON.stringify(location.length > 200 ? `${location.slice(0, 200)}…` : location);
  const refuse = (why: string) => new BadInputError(`Refused external data file ${name}: ${why}`);
  if (location === "") throw refuse("it has no name");
  if (location.includes("\0")) throw refuse("its name holds a NUL");
  const segments = location.split(/[/\\]/);
  if (segments[0] === "" || /^[a-zA-Z]:$/.test(segments[0])) {
    throw refuse("it must lie in the model's folder, and its path is absolute");
  }
  if (segments.includes("..")) {
    throw refuse('it must lie in the model\'s folder, and its path holds ".."');
  }
  const roots = rootsOf(modelPath);
  let real: string;
  let info: Deno.FileInfo;
  try {
    real = Deno.realPathSync(join(roots.folder, location));
    info = Deno.lstatSync(real);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw refuse("there is no such file beside the model");
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      throw new StorageError(`Cannot look at ${join(roots.folder, location)}: permission denied`, {
        cause: error,
      });
    }
    throw refuse((error as Error).message);
  }
  if (!isWithin(real, roots.folder) && !(roots.blobs && isWithin(real, roots.blobs))) {
    throw refuse(`it is a link out of the model's folder, to ${real}`);
  }
  if (!info.isFile) throw refuse("it is not a regular file");
  // The other name of a hard link may be anywhere, and nothing can tell which is the original.
  if (info.nlink !== null && info.nlink > 1) {
    throw refuse("it is a hard link, which may lead anywhere: put a copy in its place");
  }
  return real;
}
