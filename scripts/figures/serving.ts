/**
 * `graft serve` on a language model: tokens a second of one request and of several at once, the first token,
 * `/health` meanwhile, and the time from a change of an adapter to the first token with it. Prints a JSON
 * line for each.
 *
 * usage: deno run -A scripts/figures/serving.ts [--model DIR] [--parallel 1,2,4,8] [--tokens 128]
 *   [--rounds 3] [--adapter DIR --adapter DIR: two adapters of the model, to swap]
 */
import { parseArgs } from "@std/cli/parse-args";
import { resolve } from "@std/path";
import { median } from "../../src/statistics.ts";
import { serving } from "../../tests/helpers/serving.ts";
import { chatsAtOnce, streamedChat } from "./streamed_chats.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "parallel", "tokens", "rounds"],
  collect: ["adapter"],
  default: {
    model: "../shared/models/smollm2-135m-instruct-int4",
    parallel: "1,2,4,8",
    tokens: "128",
    rounds: "3",
  },
});
const numbers: readonly number[] = flags.parallel.split(",").map(Number);
const [tokens, rounds] = [Number(flags.tokens), Number(flags.rounds)];
const adapters = (flags.adapter as string[]).map((path) => resolve(path));

const folder = Deno.makeTempDirSync({ prefix: "graft-serving-" });
adapters.forEach((path, i) => {
  Deno.mkdirSync(`${folder}/${i}`);
  for (const { name, isFile } of Deno.readDirSync(path)) {
    if (isFile) Deno.copyFileSync(`${path}/${name}`, `${folder}/${i}/${name}`);
  }
});
const { child, url } = await serving(
  flags.model,
  ...["--parallel", `${Math.max(...numbers)}`, "--no-access-log"],
  ...(adapters.length > 0 ? ["--lora-dir", folder, "--lora-target-modules", "q_proj,v_proj"] : []),
);

/** Milliseconds to the first token that follows a text, without a template. */
async function firstTokenOf(prompt: string, model: string): Promise<number> {
  const start = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, prompt, max_tokens: 1, temperature: 0 }),
  });
  if (!response.ok) throw new Error(await response.text());
  await response.json();
  return performance.now() - start;
}

async function healthMs(done: Promise<unknown>): Promise<number[]> {
  let going = true;
  const end = () => going = false;
  done.then(end, end);
  const times: number[] = [];
  while (going) {
    const start = performance.now();
    await (await fetch(`${url}/health`)).body?.cancel();
    times.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return times.sort((a, b) => a - b);
}

const rounded = (value: number) => Number(value.toPrecision(3));
const speeds = new Map(numbers.map((count) => [count, [] as number[]]));
const first = new Map(numbers.map((count) => [count, [] as number[]]));
const health = new Map(numbers.map((count) => [count, [] as number[]]));
try {
  await streamedChat(url, "Warm up.", tokens);
  for (let round = 0; round < rounds; round++) {
    for (const count of numbers) {
      const texts = Array.from({ length: count }, (_, i) => `Tell story number ${round * 8 + i}.`);
      const work = chatsAtOnce(url, texts, tokens);
      health.get(count)!.push(...await healthMs(work));
      const { tokensPerSecond, chats } = await work;
      speeds.get(count)!.push(tokensPerSecond);
      first.get(count)!.push(...chats.map(({ firstMs }) => firstMs));
    }
  }
  for (const count of numbers) {
    const times = health.get(count)!.sort((a, b) => a - b);
    console.log(JSON.stringify({
      requests: count,
      tokensPerSecond: Math.round(median(speeds.get(count)!)),
      timesOne: rounded(median(speeds.get(count)!) / median(speeds.get(numbers[0])!)),
      firstTokenMs: rounded(median(first.get(count)!)),
      healthP50Ms: rounded(median(times)),
      healthP99Ms: rounded(times[Math.floor(0.99 * (times.length - 1))]),
    }));
  }
  if (adapters.length >= 2) {
    const swapMs: number[] = [];
    const answerMs: number[] = [];
    const shortMs: number[] = [];
    for (let swap = 0; swap < 20; swap++) {
      const start = performance.now();
      const response = await fetch(`${url}/v1/load_lora_adapter`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          lora_name: "swapped",
          lora_path: `${swap % 2}`,
          load_inplace: true,
        }),
      });
      if (!response.ok) throw new Error(await response.text());
      await response.body?.cancel();
      swapMs.push(performance.now() - start);
      // In turns: a chat, whose template has a system message, and a text of a few tokens.
      if (swap % 4 < 2) {
        answerMs.push((await streamedChat(url, "Hi", 2, { model: "swapped" })).firstMs);
      } else {
        shortMs.push(await firstTokenOf("The hall lamp", "swapped"));
      }
    }
    console.log(JSON.stringify({
      swapMs: rounded(median(swapMs)),
      firstTokenMs: rounded(median(answerMs)),
      togetherMs: rounded(median(swapMs) + median(answerMs)),
      shortTextMs: rounded(median(shortMs)),
      togetherShortMs: rounded(median(swapMs) + median(shortMs)),
    }));
  }
} finally {
  child.kill("SIGTERM");
  await child.status;
  Deno.removeSync(folder, { recursive: true });
}
