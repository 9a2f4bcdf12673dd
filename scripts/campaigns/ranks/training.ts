/** The training that faults happen to. */
import { join } from "@std/path";
import { graftProcess } from "../../../tests/helpers/graft.ts";
import { modelDir } from "../../../tests/helpers/fixture_models.ts";
import { pairs } from "../../../tests/helpers/training_runs.ts";
import { Wire } from "../../../tests/helpers/wire.ts";
import { diskOf, Job, type JobEnd } from "./job.ts";

export const STEPS = 60;
export const STEPS_PER_EVALUATION = 12;
export const STEPS_PER_CHECKPOINT = 10;

/** Writes the data that all trainings read. */
export function writeData(folder: string): void {
  Deno.mkdirSync(folder, { recursive: true });
  Deno.writeTextFileSync(join(folder, "train.jsonl"), pairs(46));
  Deno.writeTextFileSync(join(folder, "valid.jsonl"), pairs(17));
}

/** Where a training writes. */
export const adapterOf = (folder: string): string => join(diskOf({ folder }), "adapter");

/** The words of a training in a folder. */
export function trainingWords(
  { data, folder, timeout, resume = false }: {
    readonly data: string;
    readonly folder: string;
    /** Seconds after which a rank counts as lost. */
    readonly timeout: number;
    readonly resume?: boolean;
  },
): string[] {
  return [
    ...["train", "--model", modelDir("tiny-llama-genai-int4"), "--data", data, "--threads=1"],
    ...["--batch-size=12", "--target-modules=all-linear", "--rank=4", `--iters=${STEPS}`],
    ...[`--steps-per-eval=${STEPS_PER_EVALUATION}`, `--save-every=${STEPS_PER_CHECKPOINT}`],
    ...["--steps-per-report=1", `--collective-timeout=${timeout}`],
    ...["--adapter-path", adapterOf(folder), ...(resume ? ["--resume"] : [])],
  ];
}

/** Runs a training to its end by this number of ranks; one needs no launcher. */
export async function runTo(
  ranks: number,
  folder: string,
  words: readonly string[],
): Promise<JobEnd> {
  if (ranks > 1) {
    using wire = new Wire(ranks);
    return await new Job({ wire, folder }, words).end;
  }
  Deno.mkdirSync(diskOf({ folder }), { recursive: true });
  const { code, stdout, stderr } = await graftProcess(...words);
  return { code, output: stdout + stderr };
}
