/** Gives a new folder to a test and removes it afterwards, whatever came of it. */
export async function inTempDir<T>(body: (path: string) => T | Promise<T>): Promise<T> {
  const path = await Deno.makeTempDir({ prefix: "graft-test-" });
  try {
    return await body(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}
