import { assert, assertEquals } from "@std/assert";
import {
  kernelCachePath,
  kernelSource,
  loadKernels,
  saveKernels,
} from "../../src/kernels/kernel_cache.ts";
import { formsFor } from "../../src/kernels/kernel_graphs.ts";
import { measureProduct } from "../../src/kernels/measure_product.ts";
import {
  dequantFormOf,
  integerFormOf,
  integerLead,
  slicesAreQuicker,
} from "../../src/kernels/kernel_table.ts";
import { trainingForms } from "../../src/kernels/training_forms.ts";
import { INTEGER_FORMS } from "../../src/ops/internal/integer_form.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { saturates } from "../../src/runtime/saturates.ts";
import { exists } from "../../src/system/durable_files.ts";
import { withCache } from "../helpers/cache_folder.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";

const SHAPE = { rows: 64, columns: 64, bits: 4, blockSize: 32 };

Deno.test("measureProduct() times every form of a product", async () => {
  using runner = createOrtRunner({ threads: 1 });
  for (const shape of [SHAPE, { ...SHAPE, bits: 8 }, { rows: 64, columns: 64, bits: 8 }]) {
    const timings = await measureProduct(runner, shape, 4);
    assertEquals(timings.map(({ form }) => form), formsFor(shape).map(({ name }) => name));
    for (const { form, milliseconds, rows, tokens } of timings) {
      assert(milliseconds !== undefined && milliseconds > 0, `${form}: ${milliseconds}`);
      assertEquals([rows, tokens], [64, 4]);
    }
  }
});

Deno.test("saturates() finds what adds up wrong, and trainingForms() takes none of it", () =>
  withCache(async () => {
    using runner = createOrtRunner({ threads: 1 });
    // Sums of products of unsigned and signed integers are all that any processor's kernels cut.
    assertEquals(await saturates(runner, "uint8", "uint8"), false);
    assertEquals(await saturates(runner, "int8", "int8"), false);
    const model = readModel(modelDir("tiny-llama-genai-int4"));
    const { integerForm } = await trainingForms(runner, 1, model, "fast");
    assert(RIGHT_FORMS.includes(integerForm!), integerForm);
    if (await saturates(runner, "uint8", "int8")) {
      assert(integerForm === "u8u8" || integerForm === "u8s8_paired", integerForm);
    }
  }));

Deno.test("trainingForms() measures what a device has never measured, keeps it, and asks the table then", () =>
  withCache(async () => {
    using runner = createOrtRunner({ threads: 1 });
    const model = readModel(modelDir("tiny-llama-genai-int4"));
    const source = kernelSource(runner, 1);
    const exact = await trainingForms(runner, 1, model, "exact");
    assertEquals(exact.integerForm, undefined);
    const kept = loadKernels(source)!;
    assertEquals(kept.timings.map(({ form }) => form), [
      "dequantize_gather_block",
      "dequantize_arithmetic",
    ]);
    assertEquals(exact.dequantForm, dequantFormOf(kept));
    const fast = await trainingForms(runner, 1, model, "fast");
    const all = loadKernels(source)!;
    assertEquals(all.timings.slice(0, 2), kept.timings);
    const others = all.timings.slice(2).map(({ form }) => form);
    assertEquals(others.toSorted(), ["fp32_gemm", ...INTEGER_FORMS].toSorted());
    assertEquals(fast, {
      dequantForm: exact.dequantForm,
      integerForm: integerFormOf(all),
      integerLead: integerLead(all),
    });
    // Another number of threads is another device.
    assertEquals(loadKernels(kernelSource(runner, 2)), undefined);
  }));

Deno.test("trainingForms() decides between slices and floats where the file holds weights in 8 bits", () =>
  withCache(async () => {
    using runner = createOrtRunner({ threads: 1 });
    const source = kernelSource(runner, 1);
    const model = readModel(modelDir("tiny-bert-dynamic-int8"));
    const { sliced, integerForm } = await trainingForms(runner, 1, model, "exact");
    const kept = loadKernels(source)!;
    assertEquals(sliced, slicesAreQuicker(kept));
    assertEquals(integerForm, integerFormOf(kept));
    // One of them is made the quickest by far.
    for (const wanted of [true, false]) {
      const timings = kept.timings.map((timing) =>
        timing.form.endsWith("_sliced") ? { ...timing, milliseconds: wanted ? 1e-6 : 1e6 } : timing
      );
      saveKernels({ ...kept, timings });
      assertEquals((await trainingForms(runner, 1, model, "exact")).sliced, wanted);
    }
  }));

Deno.test("trainingForms() are what a kept table says", () =>
  withCache(async () => {
    using runner = createOrtRunner({ threads: 1 });
    const source = kernelSource(runner, 1);
    const model = readModel(modelDir("tiny-llama-genai-int4"));
    const timing = { ...SHAPE, tokens: 4 };
    const table = (dequantForms: readonly string[], integerForms: readonly string[]) => ({
      ...source,
      measuredAt: "",
      timings: [
        ...dequantForms.map((form) => `dequantize_${form}`),
        ...integerForms,
        "fp32_gemm",
      ].map((form, i) => ({ ...timing, form, milliseconds: 1 + i })),
    });
    for (
      const [dequantForms, integerForms] of [
        [["gather_block", "arithmetic"], ["u8s8", "u8u8", "s8s8", "u8s8_paired"]],
        [["arithmetic", "gather_block"], ["s8s8", "u8s8", "u8u8", "u8s8_paired"]],
      ] as const
    ) {
      saveKernels(table(dequantForms, integerForms));
      assertEquals(await trainingForms(runner, 1, model, "fast"), {
        dequantForm: dequantForms[0],
        integerForm: integerForms[0],
        integerLead: 7 / 3,
      });
    }
  }));

Deno.test("loadKernels() takes a damaged file for none, saveKernels() does without a folder", () =>
  withCache((directory) => {
    using runner = createOrtRunner({ threads: 1 });
    const source = kernelSource(runner, 1);
    const path = saveKernels({ ...source, measuredAt: "", timings: [] });
    assertEquals(path, kernelCachePath(source));
    Deno.writeTextFileSync(path!, "{");
    assertEquals(loadKernels(source), undefined);
    Deno.writeTextFileSync(`${directory}/file`, "");
    Deno.env.set("GRAFT_CACHE_DIR", `${directory}/file`);
    assertEquals(saveKernels({ ...source, measuredAt: "", timings: [] }), undefined);
    Deno.env.set("GRAFT_CACHE_DIR", directory);
    assert(exists(`${directory}/kernels`));
  }));
