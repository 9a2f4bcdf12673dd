import { assert } from "@std/assert";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
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
import { FORMS, product, runForm } from "../helpers/linear_forms.ts";
import { floats, halves } from "../helpers/lora_graphs.ts";

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
    const [before, after] = [await runForm(base, x), await runForm(adapted, x)];
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
  return difference(await runForm(base, x), expected).absolute;
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
  const transposed = Array.from({ length: 24 }, (_, i) => weight[(i % 6) * 4 + Math.floor(i / 6)]);
  const initializers = new Map([...plain.graph.initializers, [name, float32([4, 6], transposed)]]);
  const found = await runForm({ ...plain, graph: { ...plain.graph, initializers } }, floats(3, 4));
  const { absolute } = difference(found, await runForm(base, floats(3, 4)));
  assert(absolute <= 2e-2, `difference is ${absolute}`);
});
