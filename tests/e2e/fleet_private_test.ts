import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { randomFor } from "../../src/data/mod.ts";
import { initAdapter } from "../../src/lora/init.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { FleetBox, recordOf, rowsIn } from "../helpers/fleet_boxes.ts";
import { FLEET } from "../helpers/fleet_rounds.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { SuperLink } from "../helpers/superlink.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { until } from "../helpers/until.ts";

const SEED = 5;

/** A box of the tiny model with so many rows. */
function boxOf(path: string, url: string, rows: number): FleetBox {
  const data = rowsIn(join(path, `rows-${rows}`), rows);
  const model = modelDir("tiny-llama-genai-int4");
  return new FleetBox(join(path, `box-${rows}`), url, { model, data, training: { threads: 1 } });
}

testWithPython(
  ["flwr"],
  "a private fleet learns B over a real SuperLink, with Flower's differential privacy",
  () =>
    inTempDir(async (path) => {
      await using link = await SuperLink.start({ folder: path });
      await using _one = boxOf(path, link.url, 6);
      await using _other = boxOf(path, link.url, 8);
      const run = join(path, "run");
      await link.run(FLEET, {
        ...{ aggregation: "private", dp: "fixed", "noise-multiplier": 0.01, rounds: 2, rank: 4 },
        ...{ "learning-rate": 0.01, "max-steps": 3, "batch-size": 3, "round-timeout": 300 },
        ...{ "save-path": run, seed: SEED },
      });
      const [first, second] = await until("two rounds are over", () => {
        const lines = recordOf(run);
        return lines.length === 2 ? lines : undefined;
      }, 240_000);
      for (const { replies, rejected } of [first, second]) {
        assertEquals([replies, rejected], [2, []]);
      }
      assert(Number(second["loss-before"]) < Number(first["loss-before"]));
      assert(Number(second.epsilon) > Number(first.epsilon));
      // A of the saved adapter is the one that boxes drew: it never came to the server.
      const { adapter } = loadAdapter(join(run, "round-0002"));
      const sites = [...adapter.lora].map(([name, { a, b }]) => ({
        module: { path: name, inFeatures: a.dims[1], outFeatures: b.dims[0] },
        rank: a.dims[0],
      }));
      const drawn = initAdapter(sites, "kaiming", randomFor(SEED, "adapter"));
      for (const [name, { a }] of adapter.lora) assertEquals(a, drawn.get(name)!.a, name);
    }),
);
