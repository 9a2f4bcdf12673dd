import { assert } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import { swigluAndFactorsNode, swigluNode } from "../../src/ops/internal/swiglu.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { runEmitted } from "../helpers/emitted.ts";
import { testOnEachOrt } from "../helpers/oldest_ort.ts";

/** Gates from where nothing passes to where all does. */
const GATES = Float32Array.from({ length: 401 }, (_, i) => (i - 200) / 4);
const UP = 1.75;
const CT = 2;

/**
 * What ONNX Runtime's sigmoid is off by far from 0, times what multiplies it: without FMA that of 1.18
 * ends at half a unit in the last place of 0.5, others at less.
 */
const fromSigmoid = (gate: number) => 2 ** -24 * Math.abs(gate) * UP * CT;

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

const FORMS = {
  SwiGLU: (b: GraphBuilder) => b.emit({ ...swigluNode("gate", "up"), outputCount: 1 })[0],
  SwiGLUAndFactors: (b: GraphBuilder) =>
    b.emit({ ...swigluAndFactorsNode("gate", "up"), outputCount: 3 })[0],
};

for (const [name, emit] of Object.entries(FORMS)) {
  testOnEachOrt(`${name} and its cotangents are those of float64 within 1e-5`, async (ortLib) => {
    using runner = createOrtRunner({ threads: 1, ortLib });
    const row = (numbers: Float32Array) => float32([1, GATES.length], numbers);
    const all = (value: number) => row(new Float32Array(GATES.length).fill(value));
    const given = { gate: row(GATES), up: all(UP), ct: all(CT) };
    const [values, dg, du] = await runEmitted(runner, given, (b) => {
      const y = emit(b);
      const found = pullback(b, b.nodes, new Map([[y, "ct"]]), new Set(["gate", "up"]));
      return [y, found.get("gate")!, found.get("up")!];
    });
    GATES.forEach((g, i) => {
      const s = sigmoid(g);
      const near = (value: number, expected: number, what: string) =>
        assert(
          Math.abs(value - expected) <= 1e-5 * Math.max(1, Math.abs(expected)) + fromSigmoid(g),
          `${what} at ${g}`,
        );
      near(values[i], g * s * UP, "y");
      near(dg[i], CT * UP * (s + g * s * (1 - s)), "the gate's cotangent");
      near(du[i], CT * g * s, "up's cotangent");
    });
  });
}
