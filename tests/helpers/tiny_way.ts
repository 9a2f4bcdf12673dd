/** The way of an operator on a tiny model, by a compiled graft. */
import { join } from "@std/path";
import { type Binary, printed } from "./binary.ts";
import { modelDir } from "./fixture_models.ts";
import { pairs, readMetrics } from "./training_runs.ts";

const MODEL = modelDir("tiny-llama-genai-int4");

/** Emulated, and beside other tests, tokenizers take their time. */
export const SLOW = { GRAFT_TEXT_DEADLINE_MS: "120000" };

export interface TinyWay {
  /** Of ten steps. */
  readonly losses: readonly number[];
  /** What the merged model says. */
  readonly answer: string;
}

/** Trains ten steps, merges and runs, on one thread, in a folder that it makes. */
export async function tinyWay(binary: Binary, folder: string): Promise<TinyWay> {
  await Deno.mkdir(folder);
  await Deno.writeTextFile(join(folder, "pairs.jsonl"), pairs(4));
  const run = (...args: string[]) =>
    printed(binary, [...args, "--threads=1"], {
      cwd: folder,
      env: { GRAFT_CACHE_DIR: join(folder, "cache"), ...SLOW },
    });
  await run(
    ...["train", "--model", MODEL, "--data", "pairs.jsonl", "--adapter-path", "adapter"],
    ...["--iters=10", "--batch-size=4", "--steps-per-report=1", "--learning-rate=1e-2"],
    "--validation-split=0",
  );
  await run(
    ...["merge", "--model", MODEL, "--adapter-path", "adapter", "--save-path", "merged"],
    ...["--method=nearest", "--force", "--no-latency"],
  );
  const answer = await run("run", "merged", "--raw", "-n", "8", "What colour is the red card?");
  return { losses: readMetrics(join(folder, "adapter")).map(({ loss }) => loss!), answer };
}
