import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { commandLine, graft } from "../helpers/graft.ts";
import { LAUNCHERS, mpiMissing, runRanks } from "../helpers/mpi_jobs.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs, requests } from "../helpers/training_runs.ts";

const missing = mpiMissing();

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft eval under mpirun gives the figures of one process, to the bit",
  () =>
    inTempDir(async (path) => {
      const [texts, classes, adapter] = ["texts.jsonl", "classes.csv", "adapter"]
        .map((name) => join(path, name));
      Deno.writeTextFileSync(texts, pairs(21));
      Deno.writeTextFileSync(classes, requests(23));
      const encoder = modelDir("tiny-bert-torch-fp32");
      const trained = await graft(
        ...["train", "--model", encoder, "--data", classes, "--iters=30", "--learning-rate=0.01"],
        ...["--val-batches=0", "--adapter-path", adapter, "--threads=1"],
      );
      assertEquals(trained.code, 0, trained.stderr);
      const shared = ["--json", "--threads=1", "--batch-size=5"];
      const causal = ["eval", modelDir("tiny-llama-genai-int4"), "--data", texts, ...shared];
      const classifier = [
        ...["eval", encoder, "--data", classes, "--adapter-path", adapter],
        ...shared,
      ];
      for (const [i, args] of [causal, classifier].entries()) {
        const alone = await graft(...args);
        // Five batches: the last round has fewer than there are ranks.
        const { code, output } = await runRanks(LAUNCHERS[2 * i], 3, args);
        assertEquals(code, 0, output);
        assertStringIncludes(output, "3 ranks evaluate together");
        const results = output.split("\n").filter((line) => line.startsWith("{"));
        assertEquals(results, [alone.stdout.trim()]);
      }
    }),
);

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft eval refuses ranks with other data than rank 0's",
  () =>
    inTempDir(async (path) => {
      const args = (rows: number) => {
        const data = join(path, `${rows}.jsonl`);
        Deno.writeTextFileSync(data, pairs(rows));
        return ["eval", modelDir("tiny-llama-genai-int4"), "--data", data, "--threads=1"];
      };
      const { code, output } = await runRanks(LAUNCHERS[0], 1, [
        ...[...args(5), ":", "-n", "1"],
        ...commandLine(args(6)),
      ]);
      assertEquals(code, 2, output);
      assertStringIncludes(output, "All ranks must evaluate the same: rank 1 and rank 0 differ");
    }),
);
