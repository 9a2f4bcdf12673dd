/** A folder of its own for what graft caches. */
import { withEnvironment } from "./environment.ts";

/** Runs with a folder of its own for caches, which children inherit. */
export async function withCache(
  body: (directory: string) => Promise<void> | void,
): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "graft-cache-" });
  try {
    await withEnvironment({ GRAFT_CACHE_DIR: directory }, () => body(directory));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}
