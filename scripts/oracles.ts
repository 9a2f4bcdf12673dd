/**
 * Prints how far graft's training step is from the independent oracle (PyTorch + PEFT, fp32).
 *
 * usage: deno run -A scripts/oracles.ts
 */
import { createOrtRunner } from "../src/runtime/ort_runner.ts";
import { ORACLES, readOracle, runOracle } from "../tests/helpers/oracle.ts";

using runner = createOrtRunner({ threads: 2 });
console.log(runner.description);
console.log("oracle | model | initial loss | worst gradient | loss curve | trainable parameters");
for (const name of ORACLES) {
  for (const model of readOracle(name).onnx_models) {
    const report = await runOracle(runner, name, model);
    console.log([
      name,
      model,
      report.lossError.toExponential(1),
      Math.max(...report.gradientErrors.values()).toExponential(1),
      report.lossCurveError.toExponential(1),
      `${report.trainableParameters} of ${readOracle(name).trainable_parameters}`,
    ].join(" | "));
  }
}
