import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { graft } from "../helpers/graft.ts";
import {
  endOf,
  LAUNCHERS,
  mpiMissing,
  rankProcesses,
  runRanks,
  startRanks,
} from "../helpers/mpi_jobs.ts";
import {
  adapterDifference,
  assertSameLosses,
  firstCheckpoint,
  gradientArgs,
  lastCheckpoint,
  rankArgs,
} from "../helpers/rank_runs.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const missing = mpiMissing();

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft train --pipeline takes the steps of one process, on MPICH and Open MPI",
  () =>
    inTempDir(async (path) => {
      const args = [...rankArgs(path), "--iters=10"];
      const gradient = gradientArgs(path);
      const [alone, aloneGradient] = [join(path, "alone"), join(path, "alone-gradient")];
      assertEquals((await graft(...args, "--adapter-path", alone)).code, 0);
      assertEquals((await graft(...gradient, "--adapter-path", aloneGradient)).code, 0);
      const ranks = join(path, "ranks");
      const { code, output } = await runRanks(LAUNCHERS[0], 3, [
        ...args,
        ...["--adapter-path", ranks, "--pipeline=3"],
      ]);
      assertEquals(code, 0, output);
      assertMatch(output, /^3 ranks train together \(MPICH.*; each computes its layers$/m);
      assertMatch(output, /^Memory of each rank: about \d+ MB at rank 0 .* at rank 2 /m);
      assertEquals(output.match(/step 10\/10/g)?.length, 1);
      await assertSameLosses(alone, ranks);
      const open = LAUNCHERS[2];
      const folder = join(path, "gradient");
      const done = await runRanks(open, 2, [
        ...gradient,
        ...["--adapter-path", folder, "--pipeline=2"],
      ]);
      assertEquals(done.code, 0, `${open.name}: ${done.output}`);
      const found = adapterDifference(aloneGradient, folder);
      assert(found <= 1e-6, `${open.name}: ${found}`);
    }),
);

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft train --pipeline names the stage that does not answer, and one process goes on from its checkpoint",
  () =>
    inTempDir(async (path) => {
      const adapter = join(path, "adapter");
      const args = [...rankArgs(path), "--save-every=2", "--val-batches=0", "--iters=100000"];
      const child = startRanks(LAUNCHERS[0], 3, [
        ...args,
        ...["--adapter-path", adapter, "--collective-timeout=2", "--pipeline=3"],
      ]);
      const end = endOf(child);
      await firstCheckpoint(adapter);
      Deno.kill(rankProcesses(adapter).get(2)!, "SIGSTOP");
      const { code, output: text } = await end;
      assertStringIncludes(text, "Rank 2 did not answer within 2 s (of 3 ranks)");
      assertEquals(code, 75, text);
      const checkpoint = lastCheckpoint(adapter);
      const reached = Number(checkpoint.slice("step-".length));
      const resumed = await graft(
        ...[...args.slice(0, -1), `--iters=${reached + 1}`],
        ...["--adapter-path", adapter, "--resume", "--pipeline=1"],
      );
      assertEquals(resumed.code, 0, resumed.stderr);
      assertStringIncludes(resumed.stderr, `step ${reached + 1}/${reached + 1}`);
    }),
);

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft train --pipeline refuses ranks that make no whole pipelines, and what it cannot compute",
  () =>
    inTempDir(async (path) => {
      const args = [...rankArgs(path), "--iters=1", "--adapter-path", join(path, "a")];
      const odd = await runRanks(LAUNCHERS[0], 3, [...args, "--pipeline=2"]);
      assertEquals(odd.code, 2, odd.output);
      assertStringIncludes(odd.output, "a multiple of --pipeline 2");
      for (
        const [more, message] of [
          [
            ["--pipeline=2"],
            "--pipeline 2 divides the model among 2 ranks: start them with mpirun",
          ],
          [["--pipeline=2", "--numeric=fast"], "--pipeline 2 computes in exact"],
          [["--pipeline=2", "--ep=cuda"], "--pipeline 2 runs on processors"],
        ] as const
      ) {
        const { code, stderr } = await graft(...args, ...more);
        assertEquals(code, 2, stderr);
        assertStringIncludes(stderr, message);
      }
    }),
);
