/**
 * What clients of `graft serve` notice of a merged swap: the time of a request before an adapter is loaded,
 * while it is merged, while the merged model is opened and compared, and after. Prints a JSON line for each
 * phase, with the slowest request beside the median before.
 *
 * usage: deno run -A scripts/figures/merged_swap.ts --adapter DIR [--model DIR] [--clients 2] [--tokens 48]
 *   [--merged-dir DIR: where a merge may be already; default a new folder]
 */
import { parseArgs } from "@std/cli/parse-args";
import { resolve } from "@std/path";
import { median } from "../../src/statistics.ts";
import { serving } from "../../tests/helpers/serving.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "adapter", "clients", "tokens", "merged-dir"],
  default: {
    model: "../shared/models/smollm2-135m-instruct-int4",
    clients: "2",
    tokens: "48",
  },
});
if (flags.adapter === undefined) throw new Error("--adapter names an adapter of the model");
const tokens = Number(flags.tokens);
const folder = Deno.makeTempDirSync({ prefix: "graft-swap-" });
Deno.mkdirSync(`${folder}/adapters/lamp`, { recursive: true });
for (const { name, isFile } of Deno.readDirSync(flags.adapter)) {
  if (isFile) Deno.copyFileSync(`${flags.adapter}/${name}`, `${folder}/adapters/lamp/${name}`);
}
const merged = resolve(flags["merged-dir"] ?? `${folder}/merged`);
const { child, url, stderr } = await serving(
  flags.model,
  ...["--lora-dir", `${folder}/adapters`, "--merged-dir", merged, "--lora-way", "merged"],
  ...["--no-access-log", "--parallel", flags.clients],
);

type Phase = "before" | "merging" | "opening" | "after";
let phase: Phase = "before";
const times = new Map<Phase, number[]>();

/** One request for the adapter, or for the base before there is one. */
async function ask(): Promise<void> {
  const [start, began] = [performance.now(), phase];
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      ...(began === "before" ? {} : { model: "lamp" }),
      prompt: "The operator of the machine",
      max_tokens: tokens,
      temperature: 0,
      // The answer must not end by itself.
      logit_bias: { 2: -100, 0: -100 },
    }),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(JSON.stringify(body));
  const ms = performance.now() - start;
  // A request that two phases share counts for the later one.
  times.set(phase, [...times.get(phase) ?? [], ms]);
}

let going = true;
const clients = Array.from({ length: Number(flags.clients) }, async () => {
  while (going) await ask();
});
for (const client of clients) client.catch(() => {});
const wait = (ms: number) => new Promise((done) => setTimeout(done, ms));

try {
  await wait(3000);
  times.clear();
  await wait(15_000);
  const loaded = await fetch(`${url}/v1/load_lora_adapter`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ lora_name: "lamp", lora_path: "lamp" }),
  });
  if (!loaded.ok) throw new Error(await loaded.text());
  phase = "merging";
  const start = performance.now();
  let opening = start;
  for (;;) {
    await wait(20);
    const [lamp] = await (await fetch(`${url}/lora-adapters`)).json();
    if (lamp.merge.state === "failed") throw new Error(lamp.merge.error);
    if (lamp.way === "merged") {
      console.log(JSON.stringify({ ms_per_token: lamp.ms_per_token }));
      break;
    }
    const isWritten = [...Deno.readDirSync(merged)].some(({ name }) => /^[0-9a-f]{24}$/.test(name));
    if (phase === "merging" && isWritten) {
      phase = "opening";
      opening = performance.now();
    }
  }
  const end = performance.now();
  phase = "after";
  await wait(15_000);
  going = false;
  await Promise.all(clients);
  const before = median(times.get("before")!);
  for (const [name, ms] of times) {
    console.log(JSON.stringify({
      phase: name,
      requests: ms.length,
      medianMs: Math.round(median(ms)),
      slowestMs: Math.round(Math.max(...ms)),
      slowestTimesBefore: Number((Math.max(...ms) / before).toFixed(2)),
    }));
  }
  console.log(JSON.stringify({
    mergeSeconds: Math.round((opening - start) / 1000),
    swapSeconds: Number(((end - opening) / 1000).toFixed(1)),
  }));
} finally {
  going = false;
  child.kill("SIGTERM");
  await child.status;
  console.error(await stderr);
  Deno.removeSync(folder, { recursive: true });
}
