/** Adapters that are kept under a name: one, another in its place, none. */
import { join } from "@std/path";
import { adapterDigest, AdapterStore } from "../../../../src/hub/adapter_store.ts";
import { readAdapterFiles } from "../../../../src/model/adapter_dir.ts";
import { referenceDir } from "../../../../tests/helpers/fixture_models.ts";
import { graftWords, inTurn } from "../graft_words.ts";
import { record } from "../record.ts";
import type { PowerCase } from "../replay.ts";

const NAME = "mill";
/** What is told when a name has an adapter, or none any more. */
const TOLD = /^(Keeps the adapter|Removed) mill\b/;

/** The name has the adapter before or the one after, whole, and the one that was reported. */
export function storeCase(): PowerCase {
  const adapters = ["adapter_init", "adapter_after_10_steps"]
    .map((name) => join(referenceDir("tiny-llama-int4.all"), name));
  const kept = [
    undefined,
    ...adapters.map((path) => adapterDigest(readAdapterFiles(path))),
    undefined,
  ];
  return {
    name: "graft pull of adapters, graft rm",
    onDisk: true,
    record: (root) =>
      record(
        root,
        inTurn(
          ...adapters.map((path) => graftWords("pull", path, "--name", NAME)),
          graftWords("rm", NAME),
        ),
        { GRAFT_HOME: join(root, "home"), HF_HUB_CACHE: join(root, "hub") },
      ),
    check(folder, said) {
      const store = new AdapterStore(join(folder, "home/adapters"));
      const found = store.list().find(({ name }) => name === NAME);
      const digest = found && adapterDigest(readAdapterFiles(found.folder));
      if (digest !== found?.record.digest) return "the adapter is torn";
      const told = said.filter((line) => TOLD.test(line)).length;
      return kept.slice(told, told + 2).includes(digest)
        ? undefined
        : `the name has ${digest} after ${told} changes`;
    },
  };
}
