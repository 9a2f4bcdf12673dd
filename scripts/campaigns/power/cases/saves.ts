/** Adapters that are saved over one another in one folder. */
import { join } from "@std/path";
import { exists } from "../../../../src/system/durable_files.ts";
import { versionIn } from "../../../../tests/helpers/adapter_versions.ts";
import { recordModule } from "../record.ts";
import type { PowerCase } from "../replay.ts";

const CHILD = new URL("../adapter_child.ts", import.meta.url);

/** Whoever loads finds the adapter before or the one after, whole, and the one that was reported. */
export function saveCase(): PowerCase {
  const adapterIn = (root: string) => join(root, "adapters");
  return {
    name: "saveAdapter()",
    record: (root) => recordModule(root, CHILD, adapterIn(root)),
    check(folder, said) {
      const path = adapterIn(folder);
      const saved = said.filter((line) => line.startsWith("saved ")).length;
      const isThere = ["graft.json", "graft.json.new"].some((name) => exists(join(path, name)));
      const found = isThere ? versionIn(path) : 0;
      if (found === saved || found === saved + 1) return undefined;
      return `found version ${found} where ${saved} was saved`;
    },
  };
}
