/** What the standard rules emit also runs, and is right, on the oldest supported release. */
import { findLibrary } from "../../ffi/mod.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { checkCase } from "../helpers/gradcheck.ts";
import { STANDARD_CASES } from "../helpers/op_cases/mod.ts";
import { oldestOrt } from "../helpers/oldest_ort.ts";
import { sampledOfEach } from "../helpers/sampled.ts";

const oldest = await oldestOrt();
const ortLib = "path" in oldest ? oldest.path : undefined;
if ("skipped" in oldest) console.log(`skipped: ${oldest.skipped}`);

Deno.test({
  name: "standard operators: lowered forward and cotangents on the oldest supported ONNX Runtime",
  ignore: ortLib === undefined,
  async fn(t) {
    using runner = createOrtRunner({ threads: 1, ortLib });
    // Operators as users write them run on the release graft brings: the oldest has defects.
    using reference = createOrtRunner({ threads: 1, ortLib: findLibrary() });
    for (const test of sampledOfEach(STANDARD_CASES, ({ opType }) => opType)) {
      await t.step(`${test.opType} ${test.title}`, () => checkCase(runner, test, reference));
    }
  },
});
