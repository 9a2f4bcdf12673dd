/** `graft pull` from a hub, a folder and a tar. */
import { join } from "@std/path";
import { HubHttp } from "../../../../src/hub/http.ts";
import { installedIn } from "../../../../src/hub/installed.ts";
import { pull } from "../../../../src/hub/pull.ts";
import { pull as pullNamed } from "../../../../src/tasks/pull.ts";
import type { FakeHub } from "../../../../tests/helpers/fake_hub.ts";
import { modelDir } from "../../../../tests/helpers/fixture_models.ts";
import { tarOf } from "../../../../tests/helpers/tar.ts";
import { readFolder, treeOf, writeTree } from "../folder.ts";
import { digestOfTree } from "../operations.ts";
import { graftWords } from "../graft_words.ts";
import { record } from "../record.ts";
import type { PowerCase } from "../replay.ts";

const NAME = "org/tiny";
const PULLED = /^Pulled org\/tiny/;

/**
 * A model is either not to be seen or there, complete and right, and it is seen once it was reported;
 * the next pull makes it so.
 *
 * @param work folder for what is pulled, which is not recorded
 * @param hub gives the model
 */
export function pullCases(work: string, hub: FakeHub): readonly PowerCase[] {
  const source = join(work, "model");
  writeTree(source, treeOf(modelDir("tiny-llama-genai-int4")));
  const files = readFolder(source).flatMap(({ path, bytes }) =>
    bytes === undefined ? [] : { name: path, content: bytes }
  );
  const tar = join(work, "tiny.tar");
  Deno.writeFileSync(tar, tarOf(...files));
  hub.add(NAME, Object.fromEntries(files.map(({ name, content }) => [name, content.slice()])));
  const expected = digestOfTree(treeOf(source));
  const local = (path: string) => () => pullNamed({ source: path, name: NAME });
  return [
    pullCase("graft pull from a folder", [source, "--name", NAME], local(source), hub, expected),
    pullCase("graft pull from a tar", [tar, "--name", NAME], local(tar), hub, expected),
    pullCase(
      "graft pull from a hub",
      [NAME],
      (cache) => {
        const http = new HubHttp({ endpoint: hub.endpoint, timeoutMs: 5000 });
        return pull(http, { cache, repository: NAME, revision: "main" });
      },
      hub,
      expected,
    ),
  ];
}

function pullCase(
  name: string,
  args: readonly string[],
  again: (cache: string) => Promise<unknown>,
  hub: FakeHub,
  expected: string,
): PowerCase {
  const cacheIn = (root: string) => join(root, "home", "hub");
  return {
    name,
    onDisk: true,
    record: (root) =>
      record(root, graftWords("pull", ...args), {
        HF_HUB_CACHE: cacheIn(root),
        HF_ENDPOINT: hub.endpoint,
      }),
    async check(folder, said) {
      const cache = cacheIn(folder);
      const seen = seenIn(cache);
      if (seen.some((digest) => digest !== expected)) return "a torn model is seen";
      if (seen.length === 0 && said.some((line) => PULLED.test(line))) return "the model is lost";
      Deno.env.set("HF_HUB_CACHE", cache);
      await again(cache);
      const [digest, ...others] = seenIn(cache);
      if (digest === undefined) return "the next pull says that it pulled, and nothing is seen";
      return digest === expected && others.length === 0 ? undefined : "the next pull mends nothing";
    },
  };
}

/** Digests of all models that a cache shows. */
function seenIn(cache: string): string[] {
  return installedIn(cache).map(({ place, commit, files }) => {
    const root = place.snapshot(commit);
    const copy = Deno.makeTempDirSync({ prefix: "graft-power-" });
    try {
      for (const { path } of files) Deno.copyFileSync(join(root, path), join(copy, path));
      return digestOfTree(treeOf(copy));
    } finally {
      Deno.removeSync(copy, { recursive: true });
    }
  });
}
