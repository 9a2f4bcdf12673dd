import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { graftUnder } from "../helpers/graft.ts";
import { PullPlace, type PullSource } from "../helpers/pull_sources.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { SYNC_TRACE, unsyncedWhen } from "../helpers/unsynced.ts";

/** Traces `graft pull`; what is in hidden folders is of no use after a power loss. */
async function unsynced(source: PullSource): Promise<{ atSight: string[]; atEnd: string[] }> {
  await using place = new PullPlace(source);
  place.offer(1);
  const trace = join(place.root, "trace");
  const variables = Object.entries(place.environment).map(([name, value]) => `${name}=${value}`);
  const strace = ["env", ...variables, ...SYNC_TRACE, "-o", trace];
  const { code, stderr } = await graftUnder(strace, "pull", ...place.args);
  assertEquals(code, 0, stderr);
  const text = Deno.readTextFileSync(trace);
  const inUse = (paths: readonly string[]) =>
    paths.map((path) => path.slice(place.root.length + 1))
      .filter((path) => !/\/\.(locks|unpacked-|unfinished)(\/|$|[^/]*\/)/.test(path));
  return {
    atSight: inUse(unsyncedWhen(text, place.root, /\/snapshots\/[0-9a-f]{40}$/)),
    atEnd: inUse(unsyncedWhen(text, place.root)),
  };
}

testWithTool(
  "strace",
  "graft pull puts everything on the disk before it lets a model be seen, from wherever it comes",
  async () => {
    const sources = ["folder", "tar", "hub"] as const;
    const found = await Promise.all(sources.map(unsynced));
    assertEquals(
      Object.fromEntries(sources.map((source, i) => [source, found[i]])),
      Object.fromEntries(sources.map((source) => [source, { atSight: [], atEnd: [] }])),
    );
  },
);
