import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { commandLine, graft } from "../helpers/graft.ts";
import { inTime, TooLateError } from "../helpers/in_time.ts";
import {
  endOf,
  LAUNCHERS,
  mpiMissing,
  rankProcesses,
  runRanks,
  startRanks,
} from "../helpers/mpi_jobs.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { requests, sha256 } from "../helpers/training_runs.ts";

/** A search of two ranks and one other set of modules over two seeds. */
function argsOf(folder: string, savePath: string): string[] {
  Deno.writeTextFileSync(join(folder, "train.csv"), requests(12));
  Deno.writeTextFileSync(join(folder, "valid.csv"), requests(6));
  return [
    ...["rank-search", "--model", modelDir("tiny-bert-dynamic-int8"), "--data", folder],
    ...["--ranks=1,2", "--seeds=2", "--target-modules=query,value", "--target-sets=query"],
    ...["--batch-size=6", "--learning-rate=0.01", "--threads=1", "--save-path", savePath],
  ];
}

// deno-lint-ignore no-explicit-any -- a file of results
const resultIn = (savePath: string): any =>
  JSON.parse(Deno.readTextFileSync(join(savePath, "result.json")));

const journalOf = (savePath: string): string[] => {
  try {
    return Deno.readTextFileSync(join(savePath, "trials.jsonl")).trim().split("\n");
  } catch {
    return []; // it has not begun yet
  }
};

/** The steps that a search's trials have checkpoints of. */
function stepsOf(savePath: string): number[] {
  try {
    return [...Deno.readDirSync(join(savePath, "trials"))].map(({ name }) => {
      const latest = join(savePath, "trials", name, "checkpoints", "latest");
      return Number(Deno.readTextFileSync(latest).trim().slice("step-".length));
    });
  } catch {
    return []; // one has just begun
  }
}

/** Whether something ends in time. */
async function isWithin(end: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), ms));
  try {
    return await Promise.race([end.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

const missing = mpiMissing();

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft rank-search under mpirun finds what one process does, with one folder or each its own",
  () =>
    inTempDir(async (folder) => {
      const expected = join(folder, "alone");
      const alone = await graft(...argsOf(folder, expected), "--iters=3");
      assertEquals(alone.code, 0, alone.stderr);
      const adapterOf = (path: string) => sha256(join(path, "adapter_model.safetensors"));
      /** What a search found, without its times and paths. */
      const found = async (savePath: string) => {
        const { candidates, recommended, wholeTrainings } = resultIn(savePath);
        return [
          // deno-lint-ignore no-explicit-any -- as above
          candidates.map(({ name, values, steps }: any) => [name, values, steps]),
          ...[recommended.name, wholeTrainings],
          await adapterOf(join(savePath, "trials", recommended.adapter_path.split("/").at(-1)!)),
        ];
      };
      const shared = join(folder, "shared");
      const together = await runRanks(LAUNCHERS[2], 2, [...argsOf(folder, shared), "--iters=3"]);
      assertEquals(together.code, 0, together.output);
      assertStringIncludes(together.output, "2 ranks search together");
      assertEquals(await found(shared), await found(expected));
      // Only the first of them speaks.
      assertEquals(together.output.match(/^Recommended/gm)?.length, 1, together.output);
      const [here, there] = ["here", "there"].map((name) => join(folder, name));
      for (const board of [here, there]) Deno.mkdirSync(board);
      const args = [...argsOf(folder, "search"), "--iters=3"];
      const apart = await runRanks({ ...LAUNCHERS[0], args: ["-wdir", here] }, 1, [
        ...[...args, ":", "-wdir", there, "-n", "1"],
        ...commandLine(args),
      ]);
      assertEquals(apart.code, 0, apart.output);
      assertEquals(await found(join(here, "search")), await found(expected));
      assertEquals([...Deno.readDirSync(join(there, "search", "trials"))], []);
    }),
);

testNeeding(
  missing,
  "GRAFT_REQUIRE_PYTHON",
  "graft rank-search names a rank that does not answer, and loses nothing that has ended",
  () =>
    inTime(() =>
      inTempDir(async (folder) => {
        const savePath = join(folder, "search");
        // First to step 40, then to 120 and 360.
        const args = [...argsOf(folder, savePath), "--iters=360", "--save-every=5"];
        const child = startRanks(LAUNCHERS[0], 2, [...args, "--collective-timeout=2"]);
        const end = endOf(child);
        // Until each rank is beyond step 40 of a trial.
        while (stepsOf(savePath).filter((step) => step > 40).length < 2) {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        Deno.kill(rankProcesses(savePath).get(1)!, "SIGSTOP");
        // While it prepares a trial, others wait for it ten minutes.
        if (!await isWithin(end, 60_000)) {
          for (const rank of rankProcesses(savePath).values()) Deno.kill(rank, "SIGKILL");
          await end;
          throw new TooLateError("Rank 1 was stopped between two trials");
        }
        const { code, output: text } = await end;
        assertStringIncludes(text, "Rank 1 did not answer within 2 s (of 2 ranks)");
        assertEquals(code, 75, text);
        const kept = journalOf(savePath);
        assert(kept.length >= 6, `${kept.length}`);
        const resumed = await graft(
          ...["rank-search", "--resume", "--save-path", savePath, "--time-budget=5s"],
        );
        assertEquals(resumed.code, 0, resumed.stderr);
        // What is kept comes from the journal wherever the search gets to it, and nothing is measured twice.
        const told = resumed.stderr.match(/, to step \d+: .*$/gm) ?? [];
        const earlier = told.filter((line) => line.endsWith("(earlier)")).length;
        const journal = journalOf(savePath);
        assert(earlier >= 6, resumed.stderr);
        assertEquals(told.length - earlier, journal.length - kept.length, resumed.stderr);
        const measured = journal.map((line) => JSON.parse(line)).map(({ trial, steps }) =>
          `${trial} ${steps}`
        );
        assertEquals(new Set(measured).size, journal.length);
        assertEquals(journal.slice(0, kept.length), kept);
      })
    ),
);
