import { assert } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import type { DataType } from "../../src/graph/dtype.ts";
import { float32, type Tensor, tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import { inject } from "../../src/lora/inject.ts";
import { mergeModel } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { weightValues } from "../../src/lora/stored_matrix.ts";
import { replaceByFloat } from "../../src/lora/merge/to_float.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { difference } from "../helpers/logits.ts";
import { dynamicLinear, floats, halves, int8s } from "../helpers/lora_graphs.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";
import { runTiny } from "../helpers/run_tiny.ts";

/** x [3, 4] → y [3, 6] through one linear layer in the given form. */
function model(
  nodes: readonly TinyNode[],
  initializers: Readonly<Record<string, Tensor>>,
  dtype: DataType = "float32",
): Model {
  return tinyModel({
    inputs: { x: [dtype, [3, 4]] },
    outputs: { y: [dtype, [3, 6]] },
    nodes,
    initializers,
  });
}

/** 4-bit codes of both halves of a byte. */
const nibbles = (dims: number[], dtype: "int4" | "uint4") =>
  tensor(
    dtype,
    dims,
    Uint8Array.from({ length: dims[0] * dims[1] / 2 }, (_, i) => (i * 61 + 7) % 256),
  );
const transpose = { perm: { kind: "ints", value: [1, 0] } } as const;

const FORMS: Readonly<Record<string, () => Model>> = {
  "MatMul": () => model([["MatMul", ["x", "w"], ["y"]]], { w: floats(4, 6) }),
  "Gemm with its own bias": () =>
    model([["Gemm", ["x", "w", "b"], ["y"], { transB: int(1) }]], {
      w: floats(6, 4),
      b: floats(6),
    }),
  "MatMul in float16 with a bias": () =>
    model([["MatMul", ["x", "w"], ["h"]], ["Add", ["b", "h"], ["y"]]], {
      w: halves(floats(4, 6)),
      b: halves(floats(6)),
    }, "float16"),
  "DequantizeLinear per channel": () =>
    model([["DequantizeLinear", ["w", "s", "z"], ["d"]], ["MatMul", ["x", "d"], ["y"]]], {
      w: int8s(4, 6),
      s: float32([6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]),
      z: int8s(6),
    }),
  "DequantizeLinear int4 in blocks, transposed": () =>
    model(
      [
        ["DequantizeLinear", ["w", "s"], ["d"], { axis: int(1), block_size: int(2) }],
        ["Transpose", ["d"], ["t"], transpose],
        ["MatMul", ["x", "t"], ["y"]],
      ],
      { w: nibbles([6, 4], "int4"), s: floats(6, 2) },
    ),
  "DequantizeLinear before Gemm": () =>
    model(
      [
        ["DequantizeLinear", ["w", "s"], ["d"], { axis: int(0) }],
        ["Gemm", ["x", "d", "b"], ["y"], { transB: int(1) }],
      ],
      { w: int8s(6, 4), s: float32([6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]), b: floats(6) },
    ),
  "QuantizeLinear and DequantizeLinear per channel": () =>
    model([
      ["QuantizeLinear", ["w", "s", "z"], ["q"]],
      ["DequantizeLinear", ["q", "s", "z"], ["d"]],
      ["MatMul", ["x", "d"], ["y"]],
    ], {
      w: floats(4, 6),
      s: float32([6], [0.004, 0.002, 0.003, 0.005, 0.006, 0.0071]),
      z: tensor("int8", [6], new Uint8Array(6)),
    }),
  "QuantizeLinear and DequantizeLinear to uint8 before Gemm": () =>
    model([
      ["QuantizeLinear", ["w", "s", "z"], ["q"]],
      ["DequantizeLinear", ["q", "s", "z"], ["d"]],
      ["Gemm", ["x", "d", "b"], ["y"], { transB: int(1) }],
    ], {
      w: floats(6, 4),
      s: float32([], [0.0041]),
      z: tensor("uint8", [], Uint8Array.of(131)),
      b: floats(6),
    }),
  "QuantizeLinear and DequantizeLinear in blocks": () =>
    model([
      ["QuantizeLinear", ["w", "s", "z"], ["q"], { axis: int(0), block_size: int(2) }],
      ["DequantizeLinear", ["q", "s", "z"], ["d"], { axis: int(0), block_size: int(2) }],
      ["MatMul", ["x", "d"], ["y"]],
    ], {
      w: floats(4, 6),
      s: float32([2, 6], Array.from({ length: 12 }, (_, i) => 0.004 + 0.0003 * i)),
      z: tensor("int8", [2, 6], new Uint8Array(12)),
    }),
  "MatMulInteger": () =>
    model(dynamicLinear("x", "w", "y"), {
      w: int8s(4, 6),
      w_scale: float32([6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]),
      w_zero_point: tensor("int8", [6], new Uint8Array(6)),
    }),
  "DynamicQuantizeMatMul with its own bias": () =>
    model([["com.microsoft.DynamicQuantizeMatMul", ["x", "w", "s", "z", "b"], ["y"]]], {
      ...dynamicWeights(),
      b: floats(6),
    }),
  "MatMulIntegerToFloat": () =>
    model([
      ["DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]],
      ["com.microsoft.MatMulIntegerToFloat", ["q", "w", "qs", "s", "qz", "z"], ["y"]],
    ], dynamicWeights()),
};

function dynamicWeights() {
  return {
    w: int8s(4, 6),
    s: float32([6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]),
    z: tensor("int8", [6], new Uint8Array(6)),
  };
}

const run = (model: Model, x: Tensor) => runTiny(model, x, { optimization: "disabled" });

/** Row-major x·Wᵀ of x [rows, in] and W [out, in]. */
function product(x: ArrayLike<number>, w: ArrayLike<number>, size: number): Float32Array {
  const rows = x.length / size, out = w.length / size;
  return Float32Array.from({ length: rows * out }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < size; k++) {
      sum += x[Math.floor(i / out) * size + k] * w[(i % out) * size + k];
    }
    return sum;
  });
}

for (const [form, make] of Object.entries(FORMS)) {
  Deno.test(`inject() adds scale·x·Aᵀ·Bᵀ to ${form}`, async () => {
    const base = make();
    const x = base.graph.inputs[0].type!.dtype === "float16" ? halves(floats(3, 4)) : floats(3, 4);
    const modules = findModules(base);
    const sites = resolveTargets(modules, {
      ...DEFAULT_LORA,
      targetModules: ["*"],
      rank: 2,
      alpha: 6,
    });
    const [{ path }] = modules;
    const weights = { a: floats(2, 4), b: floats(6, 2) };
    const { model: adapted } = inject(base, sites, new Map([[path, weights]]));
    const [before, after] = [await run(base, x), await run(adapted, x)];
    const update = product(product(toNumbers(x), toNumbers(weights.a), 4), toNumbers(weights.b), 2);
    const expected = before.map((value, i) => value + 3 * update[i]);
    const { relative } = difference(after, expected);
    assert(
      relative <= (form.includes("float16") ? 2e-3 : 1e-6),
      `relative difference is ${relative}`,
    );
  });

  Deno.test(`weightValues() reads the matrix that ${form} multiplies by`, async () => {
    const base = make();
    const error = await distanceFromProduct(base);
    assert(error <= toleranceOf(base), `difference is ${error}`);
  });

  Deno.test(`mergeModel() writes the matrix that ${form} multiplies by then`, async () => {
    const base = make();
    const [{ path }] = findModules(base);
    const update = { rank: 2, loraA: toNumbers(floats(2, 4)), loraB: toNumbers(floats(6, 2)) };
    const change = { path, updates: [{ ...update, scale: 0.1 }] };
    const { model: merged, matrices: [{ changed }] } = await mergeModel(base, [change], "nearest");
    const error = await distanceFromProduct(merged);
    assert(changed && error <= toleranceOf(base), `difference is ${error}`);
  });
}

/** How far what the runtime computes is from x·Wᵀ + b with W as graft reads it. */
async function distanceFromProduct(base: Model): Promise<number> {
  const x = base.graph.inputs[0].type!.dtype === "float16" ? halves(floats(3, 4)) : floats(3, 4);
  const [module] = findModules(base);
  const weight = toNumbers(weightValues(indexGraph(base.graph), module));
  const bias = module.bias === undefined
    ? new Float32Array(6)
    : toNumbers(base.graph.initializers.get(module.bias.weight)!);
  const expected = product(toNumbers(x), weight, 4).map((value, i) => value + bias[i % 6]);
  return difference(await run(base, x), expected).absolute;
}

/** float16 rounds; dynamic quantisation rounds x to 8 bits. */
function toleranceOf(base: Model): number {
  const [{ kind, dtype }] = findModules(base);
  return kind === "MatMulInteger" ? 2e-2 : dtype === "float16" ? 2e-3 : 1e-5;
}

Deno.test("replaceByFloat() keeps the bias that a fused dynamic product adds itself", async () => {
  const base = FORMS["DynamicQuantizeMatMul with its own bias"]();
  const [module] = findModules(base);
  const { model: plain, name } = replaceByFloat(base, module);
  const weight = toNumbers(weightValues(indexGraph(base.graph), module));
  const turned = Array.from({ length: 24 }, (_, i) => weight[(i % 6) * 4 + Math.floor(i / 6)]);
  const initializers = new Map([...plain.graph.initializers, [name, float32([4, 6], turned)]]);
  const found = await run({ ...plain, graph: { ...plain.graph, initializers } }, floats(3, 4));
  const { absolute } = difference(found, await run(base, floats(3, 4)));
  assert(absolute <= 2e-2, `difference is ${absolute}`);
});
