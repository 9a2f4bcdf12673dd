import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { TokenBatch } from "../../src/data/targets.ts";
import { narrowestPlace } from "../../src/graph/passes/resume.ts";
import { int64 } from "../../src/graph/tensor.ts";
import type { GramRequest } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { gramSource } from "../../src/model/collect_gram.ts";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { readsShapes } from "../../src/ops/kinds.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** Sequences of several lengths, padded to the longest. */
function batch(lengths: readonly number[]): TokenBatch {
  const length = Math.max(...lengths);
  const cells = lengths.flatMap((tokens, row) =>
    Array.from({ length }, (_, t) => t < tokens ? [(row * 31 + t * 7) % 50 + 1, 1] : [0, 0])
  );
  const dims = [lengths.length, length] as const;
  return {
    inputIds: int64(dims, cells.map(([id]) => id)),
    attentionMask: int64(dims, cells.map(([, mask]) => mask)),
    tokenTypeIds: int64(dims, cells.map(() => 0)),
    tokenCount: lengths.reduce((sum, tokens) => sum + tokens, 0),
  };
}

const BATCHES = [batch([5, 9, 5]), batch([9, 3])];

for (
  const name of ["tiny-llama-genai-int4", "tiny-llama-torch-fp32", "tiny-bert-torch-fp32"]
) {
  Deno.test(`gramSource() goes on from what is kept as from the tokens: ${name}`, () =>
    inTempDir(async (folder) => {
      using runner = createOrtRunner({ spinning: false });
      using loaded = loadOnnx(findModelFile(modelDir(name)));
      const { model } = loaded;
      const modules = findModules(model).filter(({ head }) => !head);
      const requests = [...new Map(modules.map(({ input, inFeatures }) => {
        return [input, { value: input, cols: inFeatures }];
      })).values()];
      assert(requests.length >= 4);
      const sums = async (parts: readonly GramRequest[][], folder?: string) => {
        const source = gramSource(runner, model, { batches: () => BATCHES }, { folder });
        const found = new Map<string, Float32Array>();
        for (const [i, part] of parts.entries()) {
          for (const [value, gram] of await source(part, parts[i + 1])) {
            assertEquals(gram.count, 31);
            found.set(value, gram.values.slice());
          }
        }
        return found;
      };
      const expected = await sums([requests]);
      const found = await sums(requests.map((request) => [request]), folder);
      assertEquals([...Deno.readDirSync(folder)].length, 2, "nothing was kept");
      assertEquals([...found.keys()], [...expected.keys()]);
      for (const [value, sum] of expected) {
        const largest = Math.max(...sum.map(Math.abs));
        found.get(value)!.forEach((x, i) => assertAlmostEquals(x, sum[i], 1e-5 * largest));
      }
      // In another order it begins again.
      const [first, last] = [requests[0], requests.at(-1)!];
      const again = await sums([[last], [first]], folder);
      assertAlmostEquals(again.get(first.value)![0], expected.get(first.value)![0], 1e-3);
      assertEquals(
        narrowestPlace(
          model.graph,
          [last.value],
          [first.value],
          new Set(["input_ids"]),
          readsShapes,
        ),
        undefined,
      );
    }));
}
