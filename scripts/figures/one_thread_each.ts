/**
 * Times a training step on two threads, and as two processes of one thread with half the batch each:
 * what dividing a batch among threads would give, instead of every operator as ONNX Runtime does it.
 *
 * usage: deno run -A scripts/figures/one_thread_each.ts [ROUNDS] [MODEL] (default: 3, SmolLM2 in
 * ../shared)
 */
import { graft } from "./children.ts";

const [rounds = "3", model = "../shared/models/smollm2-135m-instruct-int4"] = Deno.args;

/** Tokens per second of synthetic steps. */
async function speed(threads: number, sequences: number): Promise<number> {
  const { stdout } = await graft(
    ...["bench", "train", "--json", "--model", model, "--numeric", "fast"],
    ...["--length", "92", "--steps", "12", "--target-modules", "q,v"],
    ...["--threads", String(threads), "--batch-size", String(sequences)],
  );
  return JSON.parse(stdout).configurations[0].tokens_per_s;
}

for (let round = 0; round < Number(rounds); round++) {
  const twoThreads = await speed(2, 8);
  const halves = await Promise.all([speed(1, 4), speed(1, 4)]);
  console.log(JSON.stringify({ twoThreads, twoProcesses: halves[0] + halves[1] }));
}
