/** The batch-first layout of recurrent operators, which ONNX Runtime's CPU provider does not run. */
import { assertEquals } from "@std/assert";
import { int, string } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import type { Tensor } from "../../src/graph/tensor.ts";
import type { Node } from "../../src/graph/types.ts";
import { inferTraining, ruleOf } from "../../src/ops/registry.ts";
import { TRAINING_OPSET } from "../../src/ops/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelOf, normal, runOn } from "../helpers/directional.ts";

const [LENGTH, BATCH, SIZE, HIDDEN] = [4, 3, 2, 5];
const GATES = { LSTM: 4, GRU: 3, RNN: 1 } as const;

/** Values with some axes in another order. */
function transposed(b: GraphBuilder, value: string, perm: readonly number[]): string {
  return b.op("Transpose", [value], { perm: { kind: "ints", value: perm } });
}

for (const [opType, gates] of Object.entries(GATES)) {
  Deno.test(`${opType}: layout 1 is layout 0 with the batch first`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const states = opType === "LSTM" ? ["h", "c"] : ["h"];
    const dims: Record<string, number[]> = {
      x: [BATCH, LENGTH, SIZE],
      w: [2, gates * HIDDEN, SIZE],
      r: [2, gates * HIDDEN, HIDDEN],
      ...Object.fromEntries(states.map((name) => [name, [BATCH, 2, HIDDEN]])),
    };
    const feeds: Record<string, Tensor> = Object.fromEntries(
      Object.entries(dims).map(([name, of], i) => [name, normal(of, i + 1)]),
    );
    const outputs = ["y", ...states.map((name) => `last_${name}`)];
    const run = async (layout: number) => {
      const b = new GraphBuilder(inferTraining);
      for (const [name, of] of Object.entries(dims)) b.input(name, "float32", of);
      const swap = (name: string) => layout === 1 ? name : transposed(b, name, [1, 0, 2]);
      const node: Node = {
        name: "tested",
        opType,
        domain: "",
        inputs: [swap("x"), "w", "r", "", "", ...states.map(swap)],
        outputs,
        attributes: {
          hidden_size: int(HIDDEN),
          layout: int(layout),
          direction: string("bidirectional"),
        },
      };
      const context = { opset: TRAINING_OPSET, needed: outputs.map(() => true) };
      const lowered = ruleOf(node).lower!(b, node, context)!;
      const inferred = ruleOf(node).infer(
        node,
        node.inputs.map((i) => i ? b.known(i) : undefined),
        {
          opset: TRAINING_OPSET,
        },
      );
      assertEquals(lowered.map((name) => b.dims(name)), inferred.map(({ dims }) => dims));
      const back = layout === 1
        ? lowered
        : lowered.map((name, i) => transposed(b, name, i === 0 ? [2, 0, 1, 3] : [1, 0, 2]));
      using executable = await runner.compile(modelOf(b.build("layout", back)));
      const found = await runOn(runner, executable, feeds);
      return back.map((name) => found[name]);
    };
    assertEquals(await run(1), await run(0));
  });
}
