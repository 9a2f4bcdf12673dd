import { assert } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import { swigluNode } from "../../src/ops/internal/swiglu.ts";
import { inferTraining, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import { callOf } from "../../src/plan/call.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { testOnEachOrt } from "../helpers/oldest_ort.ts";

/** Gates from where nothing passes to where all does. */
const GATES = Float32Array.from({ length: 401 }, (_, i) => (i - 200) / 4);
const UP = 1.75;

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

testOnEachOrt("SwiGLU and its cotangents are those of float64 within 1e-5", async (ortLib) => {
  using runner = createOrtRunner({ threads: 1, ortLib });
  const dims = [1, GATES.length];
  const b = new GraphBuilder(inferTraining);
  for (const name of ["gate", "up", "ct"]) b.input(name, "float32", dims);
  const [y] = b.emit({ ...swigluNode("gate", "up"), outputCount: 1 });
  const found = pullback(b, b.nodes, new Map([[y, "ct"]]), new Set(["gate", "up"]));
  const fetched = new Map([[y, "y"], [found.get("gate")!, "dg"], [found.get("up")!, "du"]]);
  const { graph, feeds } = callOf(b, "test", fetched);
  using executable = await runner.compile({
    ...{ irVersion: 10, opsets: TRAINING_OPSETS, metadata: {}, graph },
  });
  const all = (value: number) => new Float32Array(GATES.length).fill(value);
  const given: Record<string, Float32Array> = { gate: GATES, up: all(UP), ct: all(2) };
  const results = await executable.run(Object.fromEntries(
    [...feeds].map(([canonical, name]) => [canonical, runner.upload(float32(dims, given[name]))]),
  ));
  const [values, dg, du] = Object.values(results).map((result) => toNumbers(result.read()));
  GATES.forEach((g, i) => {
    const s = sigmoid(g);
    const near = (value: number, expected: number, what: string) =>
      assert(
        Math.abs(value - expected) <= 1e-5 * Math.max(1, Math.abs(expected)),
        `${what} at ${g}`,
      );
    near(Number(values[i]), g * s * UP, "y");
    near(Number(dg[i]), 2 * UP * (s + g * s * (1 - s)), "the gate's cotangent");
    near(Number(du[i]), 2 * g * s, "up's cotangent");
  });
});
