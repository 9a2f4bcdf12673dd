import { assert, assertEquals } from "@std/assert";
import { claimForRound, JobTurns } from "../../src/service/training_turns.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const never = new AbortController().signal;

Deno.test("JobTurns: one training at a time, and a round goes before jobs", () =>
  inTempDir(async (folder) => {
    Deno.mkdirSync(`${folder}/cycles`);
    const turns = new JobTurns(folder);
    const job = turns.claim()!;
    assert(!turns.isWanted());
    assertEquals(new JobTurns(folder).claim(), undefined);

    let waits = 0;
    const round = claimForRound(folder, never, () => waits++);
    assert(turns.isWanted());
    // It waits for the job, and a stop ends the wait.
    const stopped = new AbortController();
    const other = claimForRound(folder, stopped.signal, () => {});
    stopped.abort();
    assertEquals(await other, undefined);
    job[Symbol.dispose]();
    const turn = await round;
    assertEquals([waits, turns.claim()], [1, undefined]);
    turn![Symbol.dispose]();
    assert(!turns.isWanted());
    turns.claim()![Symbol.dispose]();
  }));

Deno.test("claimForRound() waits for nobody in a folder without jobs, and makes none there", () =>
  inTempDir(async (folder) => {
    Deno.mkdirSync(`${folder}/cycles`);
    using turn = await claimForRound(folder, never, () => assert(false));
    assert(turn !== undefined);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["cycles"]);
  }));
