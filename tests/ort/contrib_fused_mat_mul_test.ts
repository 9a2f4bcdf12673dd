import { assertThrows } from "@std/assert";
import { float, int } from "../../src/graph/attributes.ts";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import { checkFused, type FusedCase, lower, normal } from "../helpers/fused_check.ts";

function product(
  a: readonly number[],
  b: readonly number[],
  attributes: Attributes = {},
  opType = "FusedMatMul",
): FusedCase {
  return { opType, attributes, inputs: [normal(a, 1), normal(b, 2)], wrt: [0, 1] };
}

const TESTS: Readonly<Record<string, FusedCase>> = {
  "alpha": product([3, 4], [4, 5], { alpha: float(0.3) }),
  "alpha on a small left operand": product([3, 4], [4, 9], { alpha: float(0.3) }),
  "transA": product([2, 4, 3], [2, 4, 5], { transA: int(1) }),
  "transB": product([2, 3, 4], [2, 5, 4], { transB: int(1), alpha: float(0.125) }),
  "transA and transB": product([4, 3], [5, 4], { transA: int(1), transB: int(1) }),
  "broadcast stacks": product([2, 1, 3, 4], [3, 5, 4], { transB: int(1) }),
};

for (const [what, test] of Object.entries(TESTS)) {
  Deno.test(`FusedMatMul: ${what}`, () => checkFused(test));
}

Deno.test("TransposeMatMul equals FusedMatMul", async () => {
  await checkFused(product([2, 3, 4], [2, 5, 4], { transB: int(1) }, "TransposeMatMul"));
});

Deno.test("FusedMatMul refuses batch transposition by name", () => {
  for (const name of ["transBatchA", "transBatchB"]) {
    assertThrows(
      () =>
        lower(
          new GraphBuilder(inferTraining),
          product([2, 3, 4], [2, 4, 5], { [name]: int(1) }),
        ),
      UnsupportedError,
      `attribute "${name}" = 1 of com.microsoft.FusedMatMul`,
    );
  }
});
