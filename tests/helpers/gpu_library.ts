/** Libraries with other execution providers, which `.ci/run` fetches and names by variables. */

/** Why a library cannot be used, `undefined` where it can. */
export function libraryMissing(
  variable: "GRAFT_GPU_ORT" | "GRAFT_OPENVINO_ORT",
): string | undefined {
  const path = Deno.env.get(variable);
  if (!path) return `${variable} names no libonnxruntime`;
  try {
    return Deno.statSync(path).isFile ? undefined : `${variable} names no file: ${path}`;
  } catch {
    return `${variable} names no file: ${path}`;
  }
}
