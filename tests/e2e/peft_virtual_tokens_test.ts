import { assert, assertEquals } from "@std/assert";
import { testWithPython } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { compareVirtualTokens, VIRTUAL_TOKENS_CASES } from "../helpers/virtual_tokens_in_peft.ts";

testWithPython(
  ["torch", "peft", "transformers", "onnxruntime"],
  "fineTune() of virtual tokens saves what PEFT loads: its logits, its losses step by step, its values",
  () =>
    inTempDir(async (folder) => {
      const found = await compareVirtualTokens(VIRTUAL_TOKENS_CASES, folder);
      for (const parity of found) {
        const { model, method, losses } = parity;
        const title = `${model}, ${method}`;
        assertEquals(losses.length, 5);
        assert(losses[4] < losses[0] - 0.1, `${title}: losses are ${losses}`);
        assert(parity.lossDifference <= 2e-5, `${title}: losses ${parity.lossDifference}`);
        assert(parity.logitDifference <= 1e-4, `${title}: logits ${parity.logitDifference}`);
        const { merges = false, mergedDifference } = parity;
        assertEquals(mergedDifference !== undefined, merges);
        assert((mergedDifference ?? 0) <= 1e-4, `${title}: merged ${mergedDifference}`);
        assert(parity.valueDifference <= 1e-3, `${title}: values ${parity.valueDifference}`);
      }
    }),
);
