/** A folder of its own for what graft caches. */

/** Runs with a folder of its own for caches, which children inherit. */
export async function withCache(
  body: (directory: string) => Promise<void> | void,
): Promise<void> {
  const before = Deno.env.get("GRAFT_CACHE_DIR");
  const directory = Deno.makeTempDirSync({ prefix: "graft-cache-" });
  Deno.env.set("GRAFT_CACHE_DIR", directory);
  try {
    await body(directory);
  } finally {
    if (before === undefined) Deno.env.delete("GRAFT_CACHE_DIR");
    else Deno.env.set("GRAFT_CACHE_DIR", before);
    Deno.removeSync(directory, { recursive: true });
  }
}
