import { assert } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { float32, int32, type Tensor, tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import { mergeModel } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { weightValues } from "../../src/lora/stored_matrix.ts";
import { floats, int8s } from "../helpers/lora_graphs.ts";
import { tinyModel } from "../helpers/ort.ts";
import { runTiny } from "../helpers/run_tiny.ts";

const STEP = 0.02;
const INPUT_SCALE = 0.01;
const BIAS = [1, -0.8, 0.6, -0.4, 0.2, 0.9];
const zero = (value: number) => tensor("uint8", [], Uint8Array.of(value));

/** x → y, all in 8 bits, through a Gemm with a bias in int32, as static quantisation writes it. */
function quantisedGemm(scales: Tensor): Model {
  const values = toNumbers(scales) as ArrayLike<number>;
  const at = (i: number) => INPUT_SCALE * values[values.length === 1 ? 0 : i];
  return tinyModel({
    inputs: { x: ["float32", [3, 4]] },
    outputs: { y: ["float32", [3, 6]] },
    nodes: [
      ["QuantizeLinear", ["x", "xs", "xz"], ["xq"]],
      ["DequantizeLinear", ["xq", "xs", "xz"], ["xf"]],
      ["DequantizeLinear", ["w", "ws", "wz"], ["wf"], { axis: int(0) }],
      ["DequantizeLinear", ["b", "bs"], ["bf"], { axis: int(0) }],
      ["Gemm", ["xf", "wf", "bf"], ["h"], { transB: int(1) }],
      ["QuantizeLinear", ["h", "ys", "yz"], ["yq"]],
      ["DequantizeLinear", ["yq", "ys", "yz"], ["y"]],
    ],
    initializers: {
      xs: float32([], [INPUT_SCALE]),
      xz: zero(120),
      ys: float32([], [STEP]),
      yz: zero(128),
      w: int8s(6, 4),
      ws: scales,
      wz: tensor("int8", scales.dims, new Uint8Array(values.length)),
      b: int32([6], BIAS.map((value, i) => Math.round(value / at(i)))),
      bs: float32(scales.dims, Array.from(values, (value) => INPUT_SCALE * value)),
    },
  });
}

const SCALES = {
  "one scale": float32([], [0.012]),
  "a scale for each channel": float32([6], [0.01, 0.02, 0.03, 0.011, 0.021, 0.031]),
};

for (const [how, scales] of Object.entries(SCALES)) {
  Deno.test(`mergeModel() keeps a bias in integers beside a weight with ${how} as the runtime adds it`, async () => {
    const base = quantisedGemm(scales);
    const [{ path }] = findModules(base);
    const update = { rank: 2, loraA: toNumbers(floats(2, 4)), loraB: toNumbers(floats(6, 2)) };
    const change = { path, updates: [{ ...update, scale: 4 }] };
    const { model } = await mergeModel(base, [change], "nearest");
    const [before, after] = [base, model].map(({ graph }) =>
      toNumbers(graph.initializers.get("ws")!)[0] as number
    );
    assert(Math.abs(after / before - 1) > 0.05, `the scale is ${after}, it was ${before}`);
    const [module] = findModules(model);
    const weight = toNumbers(weightValues(indexGraph(model.graph), module)) as Float32Array;
    const x = toNumbers(floats(3, 4)) as Float32Array;
    const found = await runTiny(model, floats(3, 4));
    found.forEach((value, i) => {
      let wanted = BIAS[i % 6];
      for (let k = 0; k < 4; k++) {
        wanted += INPUT_SCALE * Math.round(x[4 * Math.floor(i / 6) + k] / INPUT_SCALE) *
          weight[4 * (i % 6) + k];
      }
      const clipped = Math.min(Math.max(wanted, -128 * STEP), 127 * STEP);
      assert(Math.abs(value - clipped) <= 0.6 * STEP, `${value} at ${i} must be ${clipped}`);
    });
  });
}
