/** Runs models from one input, `x`, to one output, `y`. */
import { type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { CompileOptions } from "../../src/runtime/runner.ts";

/** What the runtime computes of `x`. */
export async function runTiny(
  model: Model,
  x: Tensor,
  options: CompileOptions = {},
): Promise<Float32Array> {
  using runner = createOrtRunner({ threads: 1 });
  using executable = await runner.compile(model, options);
  using fed = runner.upload(x);
  using y = (await executable.run({ x: fed })).y;
  return Float32Array.from(toNumbers(y.read()));
}
