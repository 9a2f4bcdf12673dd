/** The folder that requests may load adapters from: what is in it, and which paths lie inside. */
import { join } from "@std/path";
import { ApiError } from "./api_error.ts";

/** A folder inside of it whose adapter can be loaded. */
export interface AdapterFolder {
  /** From the folder of adapters, as `lora_path` takes it. */
  readonly path: string;
  /** Seconds since 1970 at which its weights were written. */
  readonly created: number;
}

/** Most folders that are listed. */
const MOST_LISTED = 500;
/** What each adapter has. */
const WEIGHTS = "adapter_model.safetensors";

/**
 * The folders in a folder that look like adapters, the newest first.
 *
 * @param folder missing or unreadable: there are none
 */
export function listAdapterFolders(folder: string): readonly AdapterFolder[] {
  const found: AdapterFolder[] = [];
  try {
    for (const { name } of Deno.readDirSync(folder)) {
      const created = writtenAt(folder, name);
      if (created !== undefined) found.push({ path: name, created });
    }
  } catch {
    return [];
  }
  return found
    .sort((a, b) => b.created - a.created || a.path.localeCompare(b.path))
    .slice(0, MOST_LISTED);
}

/** When the weights of an adapter were written; `undefined` if there are none inside of the folder. */
function writtenAt(folder: string, name: string): number | undefined {
  try {
    const stat = Deno.statSync(join(pathInside(folder, name), WEIGHTS));
    return stat.isFile ? Math.floor((stat.mtime?.getTime() ?? 0) / 1000) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The real path of a folder inside of another one.
 *
 * @param path from that folder, or absolute
 * @throws {ApiError} 400 for a path that is no folder, or leads out of it
 */
export function pathInside(folder: string, path: string): string {
  const outside = () =>
    new ApiError(
      400,
      `${JSON.stringify(path)} is no folder inside of the server's folder of adapters`,
      {
        param: "lora_path",
        code: "invalid_lora_adapter",
      },
    );
  try {
    const root = Deno.realPathSync(folder);
    const real = Deno.realPathSync(path.startsWith("/") ? path : join(root, path));
    if (!real.startsWith(`${root}/`) || !Deno.statSync(real).isDirectory) throw outside();
    return real;
  } catch {
    throw outside();
  }
}
