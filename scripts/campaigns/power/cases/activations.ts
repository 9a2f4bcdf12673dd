/** What frozen layers computed, kept for a resume. */
import { join } from "@std/path";
import { equals } from "@std/bytes/equals";
import { contentOf, keyOf, openActivations, RECORDS } from "../activations_child.ts";
import { recordModule } from "../record.ts";
import type { PowerCase } from "../replay.ts";

const CHILD = new URL("../activations_child.ts", import.meta.url);

/** What was synced is there, and nothing is read that was not put there. */
export function activationCase(): PowerCase {
  return {
    name: "ActivationFile",
    record: (root) => recordModule(root, CHILD, join(root, "prefix-cache")),
    check(folder, said) {
      const synced = Math.max(0, ...said.map((line) => Number(/^synced (\d+)$/.exec(line)?.[1])));
      using file = openActivations(join(folder, "prefix-cache"));
      for (let record = 0; record < RECORDS; record++) {
        const expected = contentOf(record);
        const found = new Uint8Array(expected.length);
        const isThere = file.get(keyOf(record), found);
        if (isThere && !equals(found, expected)) return `record ${record} is another`;
        if (!isThere && record < synced) return `record ${record} of ${synced} is lost`;
      }
      return undefined;
    },
  };
}
