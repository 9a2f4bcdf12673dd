import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BadInputError, RefusedError } from "../../src/errors.ts";
import { int } from "../../src/graph/attributes.ts";
import { byteLength } from "../../src/graph/dtype.ts";
import { isPending } from "../../src/graph/pending.ts";
import { elementCount, float32, tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import { mergeModel, planMerge } from "../../src/lora/merge/mod.ts";
import type { ModuleChange } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { weightValues } from "../../src/lora/stored_matrix.ts";
import { bnb4Attributes, inCodebook } from "../helpers/codebook_model.ts";
import { floats, graphOf, int8s } from "../helpers/lora_graphs.ts";
import { correlatedGram, gaussians, norm, randomNBits } from "../helpers/quant.ts";

/** A random low-rank change of a module, small against its weight. */
function change(path: string, inFeatures: number, outFeatures: number, size = 0.01): ModuleChange {
  const random = gaussians(path.length + 1);
  return {
    path,
    updates: [{
      rank: 2,
      loraA: Float32Array.from({ length: 2 * inFeatures }, random),
      loraB: Float32Array.from({ length: 2 * outFeatures }, random),
      scale: size,
    }],
  };
}

/** The change as a dense matrix, by definition. */
function dense({ updates }: ModuleChange, inFeatures: number, outFeatures: number): Float64Array {
  const out = new Float64Array(outFeatures * inFeatures);
  for (const { rank, loraA, loraB, scale } of updates) {
    for (let n = 0; n < outFeatures; n++) {
      for (let k = 0; k < inFeatures; k++) {
        for (let r = 0; r < rank; r++) {
          out[n * inFeatures + k] += scale * loraB[n * rank + r] * loraA[r * inFeatures + k];
        }
      }
    }
  }
  return out;
}

const weightAt = (model: Model, path: string) => {
  const module = findModules(model).find((m) => m.path === path)!;
  return toNumbers(weightValues(indexGraph(model.graph), module));
};

const nbits = (name: string, rows: number, cols: number) => {
  const { codes, scales } = randomNBits(rows + cols, rows, cols, 16).tensors;
  return { [`${name}_Q4`]: codes, [`${name}_scales`]: scales! };
};

const nbitsNode = (x: string, name: string, y: string, rows: number, cols: number) =>
  [
    "com.microsoft.MatMulNBits",
    [x, `${name}_Q4`, `${name}_scales`],
    [y],
    { K: int(cols), N: int(rows), bits: int(4), block_size: int(16) },
  ] as const;

const int8Zeros = (count: number) => tensor("int8", [count], new Uint8Array(count));

/** One model per stored form, its module 4 → 3 called `y` (or `b` where a bias follows). */
const FORMS: Readonly<Record<string, () => Model>> = {
  "MatMul": () => graphOf([["MatMul", ["x", "w"], ["y"]]], { w: floats(4, 3) }),
  "Gemm with transB": () =>
    graphOf([["Gemm", ["x", "w", "b"], ["y"], { transB: int(1) }]], {
      w: floats(3, 4),
      b: floats(3),
    }),
  "MatMul over a transposed weight": () =>
    graphOf([["Transpose", ["w"], ["t"]], ["MatMul", ["x", "t"], ["y"]]], { w: floats(3, 4) }),
  "DequantizeLinear per channel": () =>
    graphOf([
      ["DequantizeLinear", ["q", "s"], ["w"], { axis: int(1) }],
      ["MatMul", ["x", "w"], ["y"]],
    ], { q: int8s(4, 3), s: float32([3], [0.01, 0.02, 0.03]) }),
  "DequantizeLinear per tensor": () =>
    graphOf([["DequantizeLinear", ["q", "s", "z"], ["w"]], ["MatMul", ["x", "w"], ["y"]]], {
      q: tensor("uint8", [4, 3], Uint8Array.from({ length: 12 }, (_, i) => i * 20)),
      s: float32([], [0.02]),
      z: tensor("uint8", [], Uint8Array.of(120)),
    }),
  "QuantizeLinear and DequantizeLinear per channel": () =>
    graphOf([
      ["QuantizeLinear", ["v", "s", "z"], ["q"], { axis: int(-1) }],
      ["DequantizeLinear", ["q", "s", "z"], ["w"], { axis: int(-1) }],
      ["MatMul", ["x", "w"], ["y"]],
    ], { v: floats(4, 3), s: float32([3], [0.004, 0.005, 0.006]), z: int8Zeros(3) }),
  "QuantizeLinear and DequantizeLinear per tensor, transposed": () =>
    graphOf([
      ["QuantizeLinear", ["v", "s", "z"], ["q"]],
      ["DequantizeLinear", ["q", "s", "z"], ["w"]],
      ["Transpose", ["w"], ["t"]],
      ["MatMul", ["x", "t"], ["y"]],
    ], {
      v: floats(3, 4),
      s: float32([], [0.005]),
      z: tensor("uint8", [], Uint8Array.of(120)),
    }),
  "MatMulBnb4": () => {
    const { codes, absmax } = inCodebook(toNumbers(floats(3, 4)) as Float32Array, "nf4", 2);
    const attributes = bnb4Attributes(3, 4, "nf4", 2);
    return graphOf([["com.microsoft.MatMulBnb4", ["x", "w", "s"], ["y"], attributes]], {
      w: codes,
      s: absmax,
    });
  },
  "MatMulInteger": () =>
    graphOf([
      ["DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]],
      ["MatMulInteger", ["xq", "q", "xz", "z"], ["i"]],
      ["Cast", ["i"], ["f"], { to: int(1) }],
      ["Mul", ["xs", "s"], ["ss"]],
      ["Mul", ["f", "ss"], ["y"]],
    ], {
      q: int8s(4, 3),
      s: float32([3], [0.01, 0.02, 0.03]),
      z: int8Zeros(3),
    }),
};

for (const [form, make] of Object.entries(FORMS)) {
  Deno.test(`mergeModel() adds ΔW to the weight of ${form} and touches nothing else`, async () => {
    const base = make();
    const [{ path, bits }] = findModules(base);
    const delta = change(path, 4, 3, 0.05);
    const before = weightAt(base, path);
    const { model, matrices: [report] } = await mergeModel(base, [delta], "nearest");
    const after = weightAt(model, path);
    const wanted = dense(delta, 4, 3).map((value, i) => value + before[i]);
    const error = norm(after, wanted) / norm(dense(delta, 4, 3));
    assertAlmostEquals(report.requantisationError, error, 1e-5);
    assert(error < (bits < 8 ? 0.5 : 0.1), `${error}`);
    assertAlmostEquals(report.deltaNorm, norm(dense(delta, 4, 3)), 1e-5);
    assertEquals(model.graph.nodes, base.graph.nodes);
    for (const [name, { dtype, dims }] of base.graph.initializers) {
      const now = model.graph.initializers.get(name)!;
      assertEquals([now.dtype, now.dims], [dtype, dims]);
    }
    const b = base.graph.initializers.get("b");
    assertEquals(model.graph.initializers.get("b")?.bytes, b?.bytes);
  });

  Deno.test(`mergeModel() with method float turns ${form} into a float layer of W + ΔW`, async () => {
    const base = make();
    const [{ path }] = findModules(base);
    const delta = change(path, 4, 3, 0.05);
    const before = weightAt(base, path);
    const { model } = await mergeModel(base, [delta], "float");
    const wanted = dense(delta, 4, 3).map((value, i) => value + before[i]);
    assert(norm(weightAt(model, path), wanted) < 1e-6);
    assertEquals(
      model.graph.nodes.filter(({ opType }) => /Quantize|Integer|Bnb4/.test(opType)),
      [],
    );
  });
}

Deno.test("mergeModel() gives rounded floats a scale of their own where a layer shares its pair", async () => {
  const base = graphOf([
    ["QuantizeLinear", ["v", "s", "z"], ["q"], { axis: int(1) }],
    ["DequantizeLinear", ["q", "s", "z"], ["w"], { axis: int(1) }],
    ["MatMul", ["x", "w"], ["h"]],
    ["QuantizeLinear", ["v2", "s", "z"], ["q2"], { axis: int(1) }],
    ["DequantizeLinear", ["q2", "s", "z"], ["w2"], { axis: int(1) }],
    ["MatMul", ["h", "w2"], ["y"]],
  ], {
    v: floats(4, 4),
    v2: floats(4, 4),
    s: float32([4], [0.004, 0.005, 0.006, 0.007]),
    z: int8Zeros(4),
  });
  const [first, second] = findModules(base);
  const { model } = await mergeModel(base, [change(first.path, 4, 4, 0.5)], "nearest");
  assertEquals(weightAt(model, second.path), weightAt(base, second.path));
  const [quantize, dequantize] = model.graph.nodes;
  assertEquals(quantize.inputs.slice(1), dequantize.inputs.slice(1));
  const wanted = dense(change(first.path, 4, 4, 0.5), 4, 4)
    .map((value, i) => value + weightAt(base, first.path)[i]);
  assert(norm(weightAt(model, first.path), wanted) < 0.02 * norm(wanted));
});

Deno.test("mergeModel() leaves a float alone that is rounded to its code as it is", async () => {
  const base = FORMS["QuantizeLinear and DequantizeLinear per channel"]();
  const [{ path }] = findModules(base);
  const [update] = change(path, 4, 3, 0.05).updates;
  // Of three rows of W the first alone changes.
  const loraB = Array.from(update.loraB, (value, i) => i < update.rank ? value : 0);
  const delta = { path, updates: [{ ...update, loraB }] };
  const { model, matrices: [{ changedCodes }] } = await mergeModel(base, [delta], "nearest");
  const [before, after] = [base, model].map(({ graph }) => toNumbers(graph.initializers.get("v")!));
  const kept = Array.from(before).filter((value, i) => value === after[i]).length;
  assert(
    changedCodes > 0 && kept >= 8,
    `${changedCodes} of the codes changed, ${kept} floats kept`,
  );
});

/** Two layers of 32 → 32 as MatMulNBits. */
const twoLayers = () =>
  graphOf([nbitsNode("x", "w1", "h", 32, 32), nbitsNode("h", "w2", "y", 32, 32)], {
    ...nbits("w1", 32, 32),
    ...nbits("w2", 32, 32),
  });

Deno.test("mergeModel() with method float writes a weight of several slabs in both orders", async () => {
  const [rows, cols] = [700, 512];
  const base = graphOf([nbitsNode("x", "w1", "y", rows, cols)], nbits("w1", rows, cols));
  const [{ path }] = findModules(base);
  const delta = change(path, cols, rows);
  const added = dense(delta, cols, rows);
  const { model } = await mergeModel(base, [delta], "float");
  const before = weightAt(base, path);
  const once = added.map((value, i) => value + before[i]);
  assert(norm(weightAt(model, path), once) < 1e-6 * norm(once));
  const { model: again } = await mergeModel(model, [delta], "nearest");
  const twice = added.map((value, i) => value + once[i]);
  assert(norm(weightAt(again, path), twice) < 1e-6 * norm(twice));
});

Deno.test("mergeModel() sums several adapters by their weights", async () => {
  const base = twoLayers();
  const [first] = findModules(base);
  const one = change(first.path, 32, 32, 0.002);
  const two = change(`${first.path}x`, 32, 32, 0.001).updates[0];
  const both = { path: first.path, updates: [...one.updates, { ...two, scale: -0.5 * two.scale }] };
  const { model } = await mergeModel(base, [both], "float");
  const before = weightAt(base, first.path);
  const wanted = dense(both, 32, 32).map((value, i) => value + before[i]);
  assert(norm(weightAt(model, first.path), wanted) < 1e-5);
});

Deno.test("mergeModel() at 8 bits keeps operator and name, and most of a small change", async () => {
  const base = twoLayers();
  const [first, second] = findModules(base);
  const delta = change(first.path, 32, 32, 0.002);
  const nearest = (await mergeModel(base, [delta], "nearest")).matrices[0];
  const { model, matrices: [wide] } = await mergeModel(base, [delta], "8bit");
  assertEquals([wide.bits, nearest.bits], [8, 4]);
  assert(wide.requantisationError < 0.25 * nearest.requantisationError);
  const [node, other] = model.graph.nodes;
  assertEquals(node.attributes.bits, int(8));
  assertEquals({ ...node, attributes: {} }, { ...base.graph.nodes[0], attributes: {} });
  assertEquals(other, base.graph.nodes[1]);
  assertEquals(model.graph.initializers.get("w1_Q4")!.dims, [32, 2, 16]);
  assertEquals(weightAt(model, second.path), weightAt(base, second.path));
});

Deno.test("mergeModel() with compensation keeps more of the outputs than nearest rounding", async () => {
  const base = twoLayers();
  const [first] = findModules(base);
  const delta = change(first.path, 32, 32, 0.002);
  const gram = correlatedGram(3, 32, 300, 8);
  const asked: string[] = [];
  const options = {
    grams: (requests: readonly { value: string }[]) => {
      asked.push(...requests.map(({ value }) => value));
      return Promise.resolve(new Map([["x", { ...gram, values: gram.values.slice() }]]));
    },
  };
  const [nearest] = (await mergeModel(base, [delta], "nearest", options)).matrices;
  const [compensated] = (await mergeModel(base, [delta], "compensated", options)).matrices;
  assert(compensated.outputError! < 0.8 * nearest.outputError!);
  assertEquals([...new Set(asked)], ["x"]);
});

Deno.test("mergeModel() refuses to be steered by activations that are not finite, naming them", async () => {
  const base = twoLayers();
  const delta = change(findModules(base)[0].path, 32, 32, 0.002);
  const gram = correlatedGram(3, 32, 300, 8);
  gram.values[0] = Infinity;
  await assertRejects(
    () =>
      mergeModel(base, [delta], "compensated", {
        grams: () => Promise.resolve(new Map([["x", gram]])),
      }),
    RefusedError,
    'on the training data "x" holds numbers that are not finite',
  );
});

Deno.test("mergeModel() leaves the rows of a fused layer alone that no adapter touches", async () => {
  const base = twoLayers();
  const [first] = findModules(base);
  const loraB = new Float32Array(64).fill(0, 0, 16).fill(1, 16);
  const delta = change(first.path, 32, 32, 0.02);
  const partial = { ...delta, updates: [{ ...delta.updates[0], loraB }] };
  for (const method of ["nearest", "8bit"] as const) {
    const { model } = await mergeModel(base, [partial], method);
    const [before, after] = [weightAt(base, first.path), weightAt(model, first.path)];
    for (let i = 0; i < 8 * 32; i++) assertEquals(after[i], before[i]);
    assert(norm(after, before) > 0);
  }
});

Deno.test("mergeModel() splits an initializer that others read before it changes it", async () => {
  const w = floats(4, 4);
  const base = graphOf([["MatMul", ["x", "w"], ["h"]], ["MatMul", ["h", "w"], ["y"]]], { w });
  const modules = findModules(base, { allowAmbiguous: true });
  const delta = change(modules[0].path, 4, 4);
  const { model } = await mergeModel(base, [delta], "nearest");
  assertEquals(model.graph.initializers.get("w")?.bytes, w.bytes);
  assertEquals(model.graph.nodes[1], base.graph.nodes[1]);
  assert(model.graph.nodes[0].inputs[1] !== "w");
});

Deno.test("mergeModel() gives a layer a DequantizeLinear of its own where an embedding reads it too", async () => {
  const base = graphOf([
    ["DequantizeLinear", ["q", "s"], ["w"], { axis: int(0) }],
    ["Gather", ["w", "ids"], ["embedded"]],
    ["Transpose", ["w"], ["t"]],
    ["MatMul", ["embedded", "t"], ["y"]],
  ], {
    q: int8s(3, 4),
    s: float32([3], [0.01, 0.02, 0.03]),
    ids: tensor("int64", [2], new Uint8Array(16)),
  });
  const [{ path }] = findModules(base);
  const delta = change(path, 4, 3, 0.05);
  const before = weightAt(base, path);
  const { model } = await mergeModel(base, [delta], "nearest");
  const wanted = dense(delta, 4, 3).map((value, i) => value + before[i]);
  assert(norm(weightAt(model, path), wanted) < 0.1 * norm(dense(delta, 4, 3)));
  const [embedding] = model.graph.nodes.filter(({ outputs }) => outputs[0] === "w");
  for (const name of embedding.inputs) {
    assertEquals(
      model.graph.initializers.get(name)!.bytes,
      base.graph.initializers.get(name)!.bytes,
    );
  }
  assertEquals(model.graph.nodes.filter(({ opType }) => opType === "DequantizeLinear").length, 2);
});

Deno.test("mergeModel() replaces weight and bias that were trained in full", async () => {
  const base = FORMS["Gemm with transB"]();
  const [{ path }] = findModules(base);
  const weight = Float32Array.from({ length: 12 }, (_, i) => i);
  const bias = Float32Array.of(7, 8, 9);
  const { model } = await mergeModel(base, [{ path, updates: [], weight, bias }], "nearest");
  assertEquals(Array.from(weightAt(model, path)), Array.from(weight));
  assertEquals([...toNumbers(model.graph.initializers.get("b")!)], [7, 8, 9]);
});

Deno.test("mergeModel() refuses a merge that changes nothing", async () => {
  const base = twoLayers();
  const [first] = findModules(base);
  const { updates: [update] } = change(first.path, 32, 32);
  const zero = { ...update, loraB: new Float32Array(64) };
  await assertRejects(
    () => mergeModel(base, [{ path: first.path, updates: [zero] }], "nearest"),
    RefusedError,
    "updates are all zero",
  );
});

Deno.test("mergeModel() refuses adapters that cancel out, whatever rounding leaves of their sum", async () => {
  const base = twoLayers();
  const [{ path }] = findModules(base);
  const { updates: [update] } = change(path, 32, 32);
  const updates = [0.1, 0.2, -0.3].map((weight) => ({ ...update, scale: weight * update.scale }));
  assert(0.1 + 0.2 - 0.3 !== 0);
  for (const method of ["nearest", "8bit", "float"] as const) {
    await assertRejects(
      () => mergeModel(base, [{ path, updates }], method),
      RefusedError,
      "all zero or cancel out",
    );
  }
});

Deno.test("mergeModel() refuses modules the base lacks and matrices of other shapes", async () => {
  const base = twoLayers();
  const [first] = findModules(base);
  await assertRejects(
    () => mergeModel(base, [change("model.layers.9.q_proj", 32, 32)], "nearest"),
    BadInputError,
    'Cannot merge into "model.layers.9.q_proj"',
  );
  await assertRejects(
    () => mergeModel(base, [change(first.path, 16, 32)], "nearest"),
    BadInputError,
    "A must be [2,32] and B [32,2]",
  );
});

Deno.test("planMerge() types every initializer before anything is computed", async () => {
  const base = twoLayers();
  const [first] = findModules(base);
  for (const method of ["nearest", "compensated", "8bit", "float"] as const) {
    const { model, tasks } = planMerge(base, [change(first.path, 32, 32)], method);
    const pending = [...model.graph.initializers].filter(([, value]) => isPending(value));
    assertEquals(pending.map(([name]) => name).sort(), tasks.flatMap(({ names }) => names).sort());
    for (const task of tasks) {
      const sizes = new Map<string, number>();
      await task.compute((name, bytes, offset = 0) => {
        sizes.set(name, Math.max(sizes.get(name) ?? 0, offset + bytes.byteLength));
      });
      for (const [name, size] of sizes) {
        const { dtype, dims } = model.graph.initializers.get(name)!;
        assertEquals(size, byteLength(dtype, elementCount(dims)));
      }
    }
  }
  assertThrows(
    () => planMerge(base, [change(first.path, 32, 32), change(first.path, 32, 32)], "nearest"),
    RangeError,
  );
});
