import { assertEquals } from "@std/assert";
import { DEFAULT_LORA, initAdapter, inject, resolveTargets } from "../../src/lora/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { Random } from "../../src/random.ts";
import { blocksLeftOut } from "../helpers/blocks_left_out.ts";
import { MINILM_DIR } from "../helpers/fixture_models.ts";

Deno.test("planTraining() plans all-MiniLM-L6-v2 of three blocks as it does of six", () => {
  using base = loadOnnx(`${MINILM_DIR}/model.onnx`);
  const config = { ...DEFAULT_LORA, dropout: 0.1 };
  const sites = resolveTargets(findModules(base.model), config);
  const adapters = initAdapter(sites, DEFAULT_LORA.init, Random.fromSeed(0));
  const { model, trainable } = inject(base.model, sites, adapters);
  const options = { batch: 4, length: 16, packedRows: 48, output: "last_hidden_state" };
  for (const numeric of ["exact", "fast"] as const) {
    for (const keepBytes of [0, 2e6, 1e9]) {
      blocksLeftOut(model, {
        ...options,
        trainable: new Set(trainable.keys()),
        numeric,
        keepBytes,
      });
    }
  }
  const { model: masked } = inject(base.model, sites, adapters, { dropout: true });
  for (const [planned, dropout] of [[model, 0], [masked, 0.1], [masked, 0]] as const) {
    const left = blocksLeftOut(planned, {
      ...options,
      trainable: new Set(trainable.keys()),
      dropout,
    });
    assertEquals(left, 2, `dropout ${dropout}`);
  }
});
