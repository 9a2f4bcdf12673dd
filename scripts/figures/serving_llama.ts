/**
 * `graft serve` beside llama.cpp's server on the same chats: tokens a second of one request and of several
 * at once, milliseconds to the first token, and the memory of both; each measurement in turns. Prints a JSON
 * line for each number of requests, with the medians of both and graft's share of llama.cpp's speed.
 *
 * docs/bench.md says where to get the server and a model of 4 bits for it.
 *
 * usage: deno run -A scripts/figures/serving_llama.ts --server llama-server --gguf FILE.gguf [--model DIR]
 *   [--parallel 1,8] [--tokens 128] [--rounds 5] [--threads N]
 */
import { parseArgs } from "@std/cli/parse-args";
import { median } from "../../src/statistics.ts";
import { watchTree } from "../../src/system/memory.ts";
import { serving } from "../../tests/helpers/serving.ts";
import { until } from "../../tests/helpers/until.ts";
import { type ChatsAtOnce, chatsAtOnce } from "./streamed_chats.ts";

const flags = parseArgs(Deno.args, {
  string: ["server", "gguf", "model", "parallel", "tokens", "rounds", "threads"],
  default: {
    model: "../shared/models/smollm2-135m-instruct-int4",
    parallel: "1,8",
    tokens: "128",
    rounds: "5",
    threads: `${navigator.hardwareConcurrency}`,
  },
});
const { server, gguf, model, threads } = flags;
if (server === undefined || gguf === undefined) {
  console.error("usage: serving_llama.ts --server llama-server --gguf FILE.gguf [--model DIR]");
  Deno.exit(2);
}
const numbers: readonly number[] = flags.parallel.split(",").map(Number);
const [tokens, rounds] = [Number(flags.tokens), Number(flags.rounds)];
const most = Math.max(...numbers);
/** Tokens of a chat's context: its prompt is short. */
const CONTEXT = 512 + tokens;

interface Server {
  readonly child: Deno.ChildProcess;
  readonly url: string;
}

function graftServer(): Promise<Server> {
  return serving(
    ...[model, "--parallel", `${most}`, "--ctx-size", `${CONTEXT}`, "--threads", threads],
    "--no-access-log",
  );
}

async function llamaServer(): Promise<Server> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const child = new Deno.Command(server!, {
    args: [
      ...["--model", gguf!, "--host", "127.0.0.1", "--port", `${port}`],
      // Its context is shared by its slots.
      ...["--parallel", `${most}`, "--ctx-size", `${most * CONTEXT}`],
      ...["--threads", threads, "--threads-batch", threads],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const url = `http://127.0.0.1:${port}`;
  await until("llama.cpp's server answers", async () => {
    const health = await fetch(`${url}/health`);
    await health.body?.cancel();
    return health.ok || undefined;
  });
  return { child, url };
}

const rounded = (value: number) => Number(value.toPrecision(3));

function figuresOf(measured: readonly ChatsAtOnce[], count: number, alone: number) {
  const speed = median(measured.map(({ tokensPerSecond }) => tokensPerSecond));
  const chats = measured.flatMap((one) => one.chats);
  return {
    tokensPerSecond: rounded(speed),
    timesOne: count === numbers[0] ? undefined : rounded(speed / alone),
    firstTokenMs: rounded(median(chats.map(({ firstMs }) => firstMs))),
    promptTokens: median(chats.map(({ promptTokens }) => promptTokens)),
    tokens: median(chats.map((chat) => chat.tokens)),
  };
}

const servers = { graft: await graftServer(), llama: await llamaServer() };
const names = ["graft", "llama"] as const;
const watches = names.map((name) => watchTree(servers[name].child.pid));
const measured = new Map(
  names.map((name) => [name, new Map(numbers.map((count) => [count, [] as ChatsAtOnce[]]))]),
);
try {
  for (const name of names) await chatsAtOnce(servers[name].url, ["Warm up."], tokens);
  for (let round = 0; round < rounds; round++) {
    for (const count of numbers) {
      const texts = Array.from(
        { length: count },
        (_, i) => `Tell story number ${round * most + i} of ${count}.`,
      );
      // Whoever is first may find a cooler processor.
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        const chats = await chatsAtOnce(servers[name].url, texts, tokens);
        measured.get(name)!.get(count)!.push(chats);
      }
    }
  }
  for (const count of numbers) {
    const [graft, llama] = names.map((name) => {
      const of = measured.get(name)!;
      const alone = median(of.get(numbers[0])!.map(({ tokensPerSecond }) => tokensPerSecond));
      return figuresOf(of.get(count)!, count, alone);
    });
    const ofLlama = rounded(graft.tokensPerSecond / llama.tokensPerSecond);
    console.log(JSON.stringify({ requests: count, graft, llama, ofLlama }));
  }
  const [graft, llama] = watches.map(({ peakBytes }) => Math.round(peakBytes / 2 ** 20));
  console.log(JSON.stringify({ peakMb: { graft, llama } }));
} finally {
  for (const watch of watches) watch[Symbol.dispose]();
  for (const name of names) {
    servers[name].child.kill("SIGTERM");
    await servers[name].child.status;
  }
}
