import { assert, assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
import { EACH_ORT, testOnEachOrt } from "../helpers/oldest_ort.ts";
import { ORACLES, readOracle, runOracle } from "../helpers/oracle.ts";
import { withSampledVariants } from "../helpers/sampled.ts";

/** Initial losses may differ by this much. */
const LOSS_TOLERANCE = { fp32: 1e-5, int4: 1e-4, int8: 1e-4 };

/** Each way of running a step must give the same gradients. */
const WAYS: Readonly<Record<string, Parameters<typeof runOracle>[3]>> = {
  "recomputing activations": {},
  "keeping activations and weights taken apart": { keepBytes: 1e9, readyWeights: true },
  "with its head in chunks": { headChunk: 200 },
  "with activations of 16 bits": { sliced: true, integerForm: RIGHT_FORMS[0] },
};

async function checkOracle(
  ortLib: string | undefined,
  name: string,
  onnxModel: string,
  options: Parameters<typeof runOracle>[3],
): Promise<void> {
  using runner = createOrtRunner({ threads: 2, spinning: false, ortLib });
  const report = await runOracle(runner, name, onnxModel, options);
  const oracle = readOracle(name);
  const kind = (["int4", "int8"] as const).find((kind) => name.includes(kind)) ?? "fp32";
  assert(report.lossError <= LOSS_TOLERANCE[kind], `initial loss off by ${report.lossError}`);
  for (const [parameter, error] of report.gradientErrors) {
    assert(error <= 1e-3, `gradient of ${parameter} off by ${error}`);
  }
  assert(report.lossCurveError <= 1e-3, `loss curve off by ${report.lossCurveError}`);
  assertEquals(report.trainableParameters, oracle.trainable_parameters);
}

const CASES = ORACLES.flatMap((name) =>
  readOracle(name).onnx_models.flatMap((onnxModel) =>
    Object.entries(WAYS)
      // Only for weights of 8 bits something else than without.
      .filter(([, options]) => !options?.sliced || onnxModel.includes("int8"))
      .map(([how, options]) => ({ name, onnxModel, how, options }))
  )
);

for (const [{ name, onnxModel, how, options }, libraries] of withSampledVariants(CASES, EACH_ORT)) {
  testOnEachOrt(
    `PlannedModel agrees with PyTorch + PEFT on ${onnxModel}, ${name}, ${how}`,
    (ortLib) => checkOracle(ortLib, name, onnxModel, options),
    libraries,
  );
}
