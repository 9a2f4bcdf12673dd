import { assertThrows } from "@std/assert";
import { float, int, string } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import { checkFused, constant, type FusedCase, lower, normal } from "../helpers/fused_check.ts";

/** Zero, small, moderate and saturating values. */
const POINTS = float32([3, 6], [
  ...[0, -0, 1e-3, -1e-3, 0.5, -0.5],
  ...[1, -1, 1.7, -1.7, 2.5, -2.5],
  ...[4, -4, 8, -8, 12, -12],
]);

const BIAS = normal([6], 3);
const TESTS: Readonly<Record<string, FusedCase>> = {
  "Gelu": { opType: "Gelu", inputs: [POINTS], wrt: [0] },
  "Gelu on nothing": { opType: "Gelu", inputs: [float32([0, 6], [])] },
  "BiasGelu": { opType: "BiasGelu", inputs: [POINTS, BIAS], wrt: [0, 1] },
  "FastGelu": { opType: "FastGelu", inputs: [POINTS], wrt: [0] },
  "FastGelu with bias": { opType: "FastGelu", inputs: [POINTS, BIAS], wrt: [0, 1] },
  "QuickGelu": { opType: "QuickGelu", inputs: [POINTS], wrt: [0] },
  "QuickGelu with alpha, SiLU": {
    opType: "QuickGelu",
    attributes: { alpha: float(1) },
    inputs: [POINTS],
    wrt: [0],
  },
  "FusedGemm": {
    opType: "FusedGemm",
    attributes: { alpha: float(0.5), beta: float(2), transB: int(1), activation: string("Tanh") },
    inputs: [normal([3, 6], 1), constant(normal([4, 6], 2)), constant(normal([4], 3))],
    wrt: [0],
  },
  "FusedGemm with Sigmoid": {
    opType: "FusedGemm",
    attributes: { transA: int(1), activation: string("Sigmoid") },
    inputs: [normal([6, 3], 1), constant(normal([6, 4], 2))],
    wrt: [0],
  },
};

for (const [what, test] of Object.entries(TESTS)) Deno.test(what, () => checkFused(test));

Deno.test("FusedGemm refuses activations with parameters by name", () => {
  const test = TESTS.FusedGemm;
  const refused = (attributes: FusedCase["attributes"], message: string) =>
    assertThrows(
      () => lower(new GraphBuilder(inferTraining), { ...test, attributes }),
      UnsupportedError,
      message,
    );
  refused({ activation: string("LeakyRelu") }, 'attribute "activation" = LeakyRelu');
  refused({ activation_alpha: float(0.1) }, 'attribute "activation_alpha"');
});

Deno.test("Gelu, FastGelu and QuickGelu refuse unknown attributes by name", () => {
  for (const opType of ["Gelu", "BiasGelu", "FastGelu", "QuickGelu"]) {
    const test = { opType, attributes: { approximate: int(1) }, inputs: [POINTS, BIAS] };
    const b = new GraphBuilder(inferTraining);
    assertThrows(() => lower(b, test), UnsupportedError, 'attribute "approximate" = 1');
  }
});
