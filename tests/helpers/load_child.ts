/** Loads the models it is given and counts those that are refused; run under strace. */
import { BadInputError } from "../../src/errors.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";

let refused = 0;
for (const path of Deno.args) {
  try {
    loadOnnx(path)[Symbol.dispose]();
  } catch (error) {
    if (!(error instanceof BadInputError)) throw error;
    refused++;
  }
}
console.log(`${refused} refused`);
