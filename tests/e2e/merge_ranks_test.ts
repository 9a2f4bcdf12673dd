import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft } from "../helpers/graft.ts";
import { LAUNCHERS, mpiMissing, runRanks } from "../helpers/mpi_jobs.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs, sha256 } from "../helpers/training_runs.ts";

testNeeding(
  mpiMissing(),
  "GRAFT_REQUIRE_PYTHON",
  "graft merge under mpirun writes the model and the certificate of one process",
  () =>
    inTempDir(async (path) => {
      Deno.writeTextFileSync(join(path, "train.jsonl"), pairs(24));
      Deno.writeTextFileSync(join(path, "valid.jsonl"), pairs(20));
      const [adapter, alone, together] = ["adapter", "alone", "together"]
        .map((name) => join(path, name));
      const model = modelDir("tiny-llama-genai-int4");
      const trained = await graft(
        ...["train", "--model", model, "--data", path, "--iters=8", "--learning-rate=0.02"],
        ...["--batch-size=4", "--target-modules=all-linear", "--adapter-path", adapter],
        ...["--val-batches=0", "--threads=1"],
      );
      assertEquals(trained.code, 0, trained.stderr);
      // All ways are tried, of which tuned ones go on from what was measured.
      const merge = (savePath: string) => [
        ...["merge", "--model", model, "--adapter-path", adapter, "--save-path", savePath],
        ...["--no-latency", "--threads=1", "--min-gain-kept=1", "--tune-steps=2", "--force"],
      ];
      const one = await graft(...merge(alone));
      assertEquals(one.code, 0, one.stderr);
      const { code, output } = await runRanks(LAUNCHERS[0], 2, merge(together));
      assertEquals(code, 0, output);
      assertStringIncludes(output, "2 ranks measure together");
      assertEquals(output.match(/^Saved the merged model/gm)?.length, 1, output);
      const names = [...Deno.readDirSync(alone)].map(({ name }) => name).sort();
      assertEquals([...Deno.readDirSync(together)].map(({ name }) => name).sort(), names);
      for (const name of names) {
        assertEquals(await sha256(join(together, name)), await sha256(join(alone, name)), name);
      }
      // What the others made is gone.
      const left = [...Deno.readDirSync(path)].filter(({ name }) => name.startsWith("."));
      assertEquals(left, []);
    }),
);
