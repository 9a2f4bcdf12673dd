import { assert } from "@std/assert";
import { compareCompositions } from "../helpers/peft_compositions.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

testWithPython(
  ["torch", "peft", "transformers"],
  "composeAdapters() combines as PEFT's add_weighted_adapter, and PEFT loads what it writes",
  () =>
    inTempDir(async (folder) => {
      for (const { what, path, difference } of await compareCompositions(folder)) {
        assert(difference < 3e-5, `${what}, ${path}: differs by ${difference} of the largest`);
      }
    }),
);
