/** Finds installed ONNX Runtime libraries with CUDA. */
import { join } from "@std/path";

/** Access to files; replaced in tests. */
export interface Folders {
  /** Names in a folder; none if it cannot be read. */
  list(path: string): readonly string[];
}

const REAL: Folders = {
  list(path) {
    try {
      return [...Deno.readDirSync(path)].map(({ name }) => name);
    } catch (error) {
      if (
        error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory ||
        error instanceof Deno.errors.PermissionDenied
      ) return [];
      throw error;
    }
  },
};

/**
 * The path of the first `libonnxruntime` with its CUDA library beside it: in the Python environment in
 * use, the user's and the system's Python packages, then the system's own library folders.
 *
 * @param variable reads a variable of the environment
 */
export function findGpuLibrary(
  variable: (name: string) => string | undefined = (name) => Deno.env.get(name),
  folders: Folders = REAL,
): string | undefined {
  const environments = [variable("VIRTUAL_ENV"), variable("CONDA_PREFIX")].filter((path) => path);
  const home = variable("HOME");
  const python = [
    ...environments.map((path) => join(path!, "lib")),
    ...(home ? [join(home, ".local/lib")] : []),
    "/usr/local/lib",
    "/usr/lib",
  ];
  const candidates = [
    ...python.flatMap((lib) =>
      folders.list(lib).filter((name) => /^python3(\.\d+)?$/.test(name)).toSorted().reverse()
        .flatMap((name) =>
          ["site-packages", "dist-packages"].map((packages) =>
            join(lib, name, packages, "onnxruntime/capi")
          )
        )
    ),
    ...folders.list("/opt").filter((name) => name.startsWith("onnxruntime")).toSorted().reverse()
      .map((name) => join("/opt", name, "lib")),
    "/usr/local/lib",
    `/usr/lib/${Deno.build.arch}-linux-gnu`,
    "/usr/lib",
  ];
  for (const folder of candidates) {
    const names = folders.list(folder);
    if (!names.includes("libonnxruntime_providers_cuda.so")) continue;
    const library = names.filter((name) => /^libonnxruntime\.so(\.[\d.]+)?$/.test(name)).toSorted();
    if (library.length > 0) return join(folder, library.at(-1)!);
  }
  return undefined;
}
