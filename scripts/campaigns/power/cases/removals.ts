/** A folder that is removed. */
import { join } from "@std/path";
import { ALL_FILES, filesIn } from "../removal_child.ts";
import { recordModule } from "../record.ts";
import type { PowerCase } from "../replay.ts";

const CHILD = new URL("../removal_child.ts", import.meta.url);

/** Whoever looks finds the folder whole or not at all, and no more once it was removed. */
export function removalCase(): PowerCase {
  return {
    name: "removeDirectory()",
    record: (root) => recordModule(root, CHILD, join(root, "folder")),
    check(folder, said) {
      const files = filesIn(join(folder, "folder"));
      if (files !== undefined && files < ALL_FILES) {
        return `${files} of ${ALL_FILES} files are left`;
      }
      return files !== undefined && said.includes("removed") ? "it is there again" : undefined;
    },
  };
}
