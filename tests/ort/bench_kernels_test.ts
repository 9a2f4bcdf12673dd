import { assert, assertEquals } from "@std/assert";
import {
  kernelCachePath,
  kernelSource,
  loadKernels,
  measuredDequantForm,
  saveKernels,
} from "../../src/bench/kernel_cache.ts";
import { formsFor } from "../../src/bench/kernel_graphs.ts";
import { measureProduct } from "../../src/bench/kernels.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { exists } from "../../src/system/durable_files.ts";
import { withCache } from "../helpers/cache_folder.ts";

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

Deno.test("measuredDequantForm() is what a kept table says, and nothing without one", () =>
  withCache(() => {
    using runner = createOrtRunner({ threads: 1 });
    const source = kernelSource(runner, 1);
    assertEquals(measuredDequantForm(runner, 1), undefined);
    for (const [quick, slow] of [["gather_block", "arithmetic"], ["arithmetic", "gather_block"]]) {
      const timing = { ...SHAPE, tokens: 4 };
      saveKernels({
        ...source,
        measuredAt: "",
        timings: [
          { ...timing, form: `dequantize_${quick}`, milliseconds: 1 },
          { ...timing, form: `dequantize_${slow}`, milliseconds: 2 },
        ],
      });
      assertEquals(measuredDequantForm(runner, 1), quick);
    }
    // Another number of threads is another device.
    assertEquals(measuredDequantForm(runner, 2), undefined);
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
