/**
 * Tokens per second of a language model that answers 1, 2, 4 … requests at once, in shared runs: each
 * reads a prompt of its own and generates greedily. Prints a JSON line for each number, with the ratio to
 * one request alone, in turns; the median of the rounds.
 *
 * usage: deno run -A scripts/figures/batching.ts [--model DIR] [--parallel 1,2,4,8] [--prompt 64]
 *   [--tokens 64] [--rounds 3] [--threads N]
 */
import { parseArgs } from "@std/cli/parse-args";
import { openModel } from "../../src/model/open_model.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { openSessions } from "../../src/serve/open_sessions.ts";
import type { TokenSessions } from "../../src/serve/token_sessions.ts";
import { argmax, median } from "../../src/statistics.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "parallel", "prompt", "tokens", "rounds", "threads"],
  default: {
    model: "../shared/models/smollm2-135m-instruct-int4",
    parallel: "1,2,4,8",
    prompt: "64",
    tokens: "64",
    rounds: "3",
  },
});
const numbers: readonly number[] = flags.parallel.split(",").map(Number);
const [promptTokens, tokens, rounds] = [flags.prompt, flags.tokens, flags.rounds].map(Number);
const most = Math.max(...numbers);

using opened = await openModel(flags.model);
using runner = createOrtRunner(
  flags.threads === undefined ? {} : { threads: Number(flags.threads) },
);
using open = await openSessions(runner, opened.model, {
  label: opened.file,
  parallel: most,
});

/** Milliseconds from the first answered token of the last request to the last one of all. */
async function decodeMs(sessions: TokenSessions, count: number): Promise<number> {
  const all = Array.from({ length: count }, () => sessions.open());
  try {
    const first = await Promise.all(
      all.map((session, row) =>
        session.continueTo(
          Array.from({ length: promptTokens }, (_, i) => 100 + (i * 7919 + row * 131) % 40_000),
        ).then(argmax)
      ),
    );
    const start = performance.now();
    await Promise.all(all.map(async (session, row) => {
      let id = first[row];
      for (let i = 0; i < tokens; i++) id = argmax(await session.advance([id]));
    }));
    return performance.now() - start;
  } finally {
    for (const session of all) session[Symbol.dispose]();
  }
}

const speeds = new Map(numbers.map((count) => [count, [] as number[]]));
for (let round = 0; round <= rounds; round++) {
  for (const count of numbers) {
    const ms = await decodeMs(open.sessions, count);
    // The first round warms up.
    if (round > 0) speeds.get(count)!.push(count * tokens * 1000 / ms);
  }
}
for (const [parallel, all] of speeds) {
  const tokensPerSecond = Math.round(median(all));
  const timesOne = Number((median(all) / median(speeds.get(numbers[0])!)).toFixed(2));
  console.log(JSON.stringify({ parallel, tokensPerSecond, timesOne }));
}
