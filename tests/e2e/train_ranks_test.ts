import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { commandLine, graft } from "../helpers/graft.ts";
import {
  endOf,
  LAUNCHERS,
  LEAVING_OTHERS,
  mpiMissing,
  rankProcesses,
  runRanks,
  startRanks,
} from "../helpers/mpi_jobs.ts";
import { testNeeding } from "../helpers/requirements.ts";
import {
  adapterDifference,
  assertSameLosses,
  firstCheckpoint,
  gradientArgs,
  lastCheckpoint,
  rankArgs,
} from "../helpers/rank_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { readMetrics } from "../helpers/training_runs.ts";

const missing = mpiMissing();

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft train under mpirun takes the steps of one process, on every MPI",
  () =>
    inTempDir(async (path) => {
      // Two threads compute parts of a rank's rows, and gradients are summed while they do.
      const args = [...rankArgs(path).filter((arg) => arg !== "--threads=1"), "--threads=2"];
      args.push("--iters=10");
      const gradient = gradientArgs(path);
      const [alone, aloneGradient] = [join(path, "alone"), join(path, "alone-gradient")];
      assertEquals((await graft(...args, "--adapter-path", alone)).code, 0);
      assertEquals((await graft(...gradient, "--adapter-path", aloneGradient)).code, 0);
      const ranks = join(path, "ranks");
      const { code, output } = await runRanks(LAUNCHERS[0], 4, [...args, "--adapter-path", ranks]);
      assertEquals(code, 0, output);
      assertMatch(output, /^4 ranks train together \(MPICH/m);
      assertMatch(output, /took \d.*% of the run; gradients travelled .* for \d.*% of it/);
      // Only the first of them writes and reports.
      assertEquals(output.match(/step 10\/10/g)?.length, 1);
      await assertSameLosses(alone, ranks);
      const shares = (await readMetrics(ranks))
        .flatMap(({ wait_share: share }) => share === undefined ? [] : [share]);
      assertEquals(shares.length, 10);
      for (const share of shares) assert(0 <= Number(share) && Number(share) < 1, `${share}`);
      for (const [i, launcher] of LAUNCHERS.slice(1).entries()) {
        const folder = join(path, `gradient-${i}`);
        const done = await runRanks(launcher, 4, [...gradient, "--adapter-path", folder]);
        assertEquals(done.code, 0, `${launcher.name}: ${done.output}`);
        assertMatch(done.output, /^4 ranks train together/m, launcher.name);
        const found = adapterDifference(aloneGradient, folder);
        assert(found <= 1e-6, `${launcher.name}: ${found}`);
      }
    }),
);

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft train names a rank that does not answer, and other ranks go on from its checkpoint",
  () =>
    inTempDir(async (path) => {
      const adapter = join(path, "adapter");
      const args = [...rankArgs(path), "--save-every=2", "--val-batches=0", "--iters=100000"];
      const child = startRanks(LAUNCHERS[0], 2, [
        ...args,
        ...["--adapter-path", adapter, "--collective-timeout=2"],
      ]);
      const end = endOf(child);
      await firstCheckpoint(adapter);
      Deno.kill(rankProcesses(adapter).get(1)!, "SIGSTOP");
      const { code, output: text } = await end;
      assertStringIncludes(text, "Rank 1 did not answer within 2 s (of 2 ranks)");
      assertEquals(code, 75, text);
      const checkpoint = lastCheckpoint(adapter);
      const reached = Number(checkpoint.slice("step-".length));
      const further = [...args.slice(0, -1), `--iters=${reached + 1}`];
      // Other boards have no files of the run.
      const resumed = await runRanks(LAUNCHERS[0], 1, [
        ...[...further, "--adapter-path", adapter, "--resume", ":", "-n", "2"],
        ...commandLine([...further, "--adapter-path", join(path, "empty"), "--resume"]),
      ]);
      assertEquals(resumed.code, 0, resumed.output);
      assertStringIncludes(resumed.output, `${checkpoint}`);
      assertStringIncludes(resumed.output, `step ${reached + 1}/${reached + 1}`);
    }),
);

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft train names a rank that is killed, and saves, where the launcher leaves the others alone",
  () =>
    inTempDir(async (path) => {
      const adapter = join(path, "adapter");
      const child = startRanks(LEAVING_OTHERS, 3, [
        ...[...rankArgs(path), "--save-every=2", "--val-batches=0", "--iters=100000"],
        ...["--adapter-path", adapter, "--collective-timeout=2"],
      ]);
      const end = endOf(child);
      await firstCheckpoint(adapter);
      const before = lastCheckpoint(adapter);
      Deno.kill(rankProcesses(adapter).get(1)!, "SIGKILL");
      const { code, output: text } = await end;
      assertMatch(text, /^graft: Rank 1 (did not answer within 2 s|cannot be reached)/m);
      assertEquals(code, 75, text);
      assert(lastCheckpoint(adapter) >= before, text);
    }),
);

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft train refuses ranks that train different things, or more ranks than a batch has rows",
  () =>
    inTempDir(async (path) => {
      const args = [...rankArgs(path), "--iters=1", "--adapter-path", join(path, "a")];
      const few = await runRanks(LAUNCHERS[0], 2, [...args, "--batch-size=1"]);
      assertEquals(few.code, 2, few.output);
      assertStringIncludes(few.output, "--batch-size is the rows of all ranks together");
      // Another seed in the second of two groups of one rank.
      const mixed = await runRanks(LAUNCHERS[0], 1, [
        ...[...args, "--seed=1", ":", "-n", "1"],
        ...commandLine([...args, "--seed=2"]),
      ]);
      assertEquals(mixed.code, 2, mixed.output);
      assertMatch(mixed.output, /rank 1 and rank 0 differ in --seed/);
    }),
);
