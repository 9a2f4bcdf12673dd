/** Singular values of gradients, sketched through adapters, beside those of PyTorch's whole gradients. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { resolveConfig, Trainer } from "../../src/finetune/mod.ts";
import { type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import { gradientSpectra } from "../../src/tasks/rank_search/gradient_spectra.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { askPython } from "../helpers/run_python.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs } from "../helpers/training_runs.ts";

testWithPython(
  ["torch", "transformers"],
  "gradientSpectra() are PyTorch's: nearly with as many directions as inputs, roughly with half",
  () =>
    inTempDir(async (folder) => {
      Deno.writeTextFileSync(join(folder, "train.jsonl"), pairs(12));
      const config = resolveConfig({
        ...{ model: modelDir("tiny-llama-genai-fp32"), data: folder, shuffle: false },
        ...{ targetModules: ["q_proj", "down_proj"], batchSize: 6, threads: 1 },
      });
      const spectraOf = (rank: number) =>
        gradientSpectra(config, rank, { onEvent() {}, signal: new AbortController().signal });
      const [full, half] = [await spectraOf(64), await spectraOf(32)];
      const modules = [...full.keys()];
      assertEquals(modules.length, 4);
      const expected = await askPython<readonly (readonly number[])[]>("weight_gradients.py", {
        ...{ base: modelDir("tiny-llama-hf"), modules, batches: await batchesOf(config) },
      });
      for (const [m, path] of modules.entries()) {
        const [largest] = expected[m];
        for (let i = 0; i < 8; i++) {
          const [of, roughly] = [full.get(path)![i], half.get(path)![i]].map((value) =>
            Math.abs(value - expected[m][i]) / largest
          );
          // A square random A is ill-conditioned, which magnifies the rounding of float32.
          assert(of < (path.endsWith("q_proj") ? 0.01 : 0.25), `${path}, ${i}: ${of}`);
          assert(roughly < 0.25, `${path}, ${i}: ${roughly}`);
        }
      }
    }),
);

/** The first batches as a Python program takes them. */
async function batchesOf(config: Parameters<typeof Trainer.open>[0]) {
  using trainer = await Trainer.open({ ...config, overwrite: true });
  const rowsOf = (values: ArrayLike<number>, length: number) =>
    Array.from(
      { length: values.length / length },
      (_, i) => Array.from(values).slice(i * length, (i + 1) * length),
    );
  const rows = (tensor: Tensor) =>
    rowsOf(Array.from(toNumbers(tensor) as ArrayLike<number>), tensor.dims[1]);
  const found = [];
  for (let i = 0; i < trainer.data.batches(0); i++) {
    const { inputIds, attentionMask, labels } = await trainer.data.batch(0, i);
    found.push({
      input_ids: rows(inputIds),
      attention_mask: rows(attentionMask),
      labels: rowsOf(labels!, inputIds.dims[1]),
    });
  }
  return found;
}
