/**
 * Rounds of a service for power losses: `rounds_child.ts FOLDER`. Trains, merges and evaluates nothing,
 * but leaves files as those steps do.
 *
 * Prints `begins` when the folder is open, and then `in use NAME` for each model that came into use.
 */
import { join } from "@std/path";
import { EXIT } from "../../../src/errors.ts";
import { ChildSteps } from "../../../src/service/child_steps.ts";
import { type JobResult, runJob, type StepEnd } from "../../../src/service/job.ts";
import type { Score } from "../../../src/service/records.ts";
import { ServiceState } from "../../../src/service/state.ts";
import { makeDirectory, replaceFile } from "../../../src/system/durable_files.ts";
import { writeModelOf } from "./staged_child.ts";

const DONE = { ended: "done", value: undefined } as const;
const OPTIONS = { margin: 0.01, keep: 2, attempts: 1 };

/** Takes the snapshot as the job does; each model is a little better than all before. */
class QuickSteps extends ChildSteps {
  constructor(data: string, readonly failure: string | undefined) {
    super(
      {
        model: "base",
        data,
        trainConfig: "iters: 1\n",
        validationSplit: 0.2,
        runtimeFlags: [],
        dataFlags: [],
      },
      () => {},
      new AbortController().signal,
    );
  }

  override train(cycle: string): Promise<StepEnd> {
    if (this.failure !== undefined) {
      return Promise.resolve({ ended: "failed", why: this.failure, code: EXIT.refused });
    }
    makeDirectory(join(cycle, "adapter", "checkpoints"));
    replaceFile(join(cycle, "adapter", "adapter"), new TextEncoder().encode(nameOf(cycle)));
    return Promise.resolve(DONE);
  }

  override merge(cycle: string): Promise<StepEnd> {
    Deno.readFileSync(join(cycle, "adapter", "adapter"));
    writeModelOf(nameOf(cycle), join(cycle, "model"));
    return Promise.resolve(DONE);
  }

  override evaluate(_: string, model: "candidate" | string | null): Promise<StepEnd<Score>> {
    return Promise.resolve({ ended: "done", value: { loss: model === "candidate" ? 1 : 2 } });
  }
}

/** The name of the cycle that a folder is of; a merge's text, too. */
const nameOf = (cycle: string) => `model of ${cycle.split("/").at(-1)}`;

/**
 * Does one round on these rows.
 *
 * @param failure what the training ends with, where it fails
 */
export function doRound(state: ServiceState, rows: string, failure?: string): Promise<JobResult> {
  const data = join(state.folder, "data");
  Deno.mkdirSync(data, { recursive: true });
  Deno.writeTextFileSync(join(data, "rows.jsonl"), rows);
  return runJob(state, new QuickSteps(data, failure), OPTIONS, () => {});
}

/** Rows that no other number gives. */
export function rowsOf(number: number): string {
  return Array.from(
    { length: 20 },
    (_, i) =>
      JSON.stringify({ prompt: `${number} times ${i}?`, completion: `${number * i}` }) + "\n",
  ).join("");
}

if (import.meta.main) {
  using state = ServiceState.open(Deno.args[0]);
  console.log("begins");
  const tell = () => console.log(`in use ${state.standing.inUse ?? "base"}`);
  for (const number of [1, 2, 3]) {
    await doRound(state, rowsOf(number));
    tell();
  }
  // A line of the journal that lies in many blocks of the disk.
  await doRound(state, rowsOf(5), "no memory ".repeat(400));
  state.rollBack();
  tell();
  state.rollBack(null);
  tell();
  await doRound(state, rowsOf(4));
  tell();
}
