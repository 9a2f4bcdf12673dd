/** Rounds of which what trains is killed, as by a system that is short of memory, beside a service that is asked. */
import { join } from "@std/path";
import { Random } from "../../../src/random.ts";
import { startGraft } from "../../../tests/helpers/graft.ts";
import { askOnce, sleep } from "../../../tests/helpers/line_clients.ts";
import type { ServiceFlags } from "../../../tests/helpers/running_service.ts";
import { until } from "../../../tests/helpers/until.ts";
import { pairs, sha256 } from "../../../tests/helpers/training_runs.ts";

export interface KilledRounds {
  readonly kills: number;
  readonly rounds: number;
  /** Of the client that asks meanwhile. */
  readonly answers: number;
  readonly p99Ms: number;
  readonly faults: readonly string[];
}

const ITERS = 400;
const ADAPTER = "adapter/adapter_model.safetensors";

/** Runs rounds until trainings were killed so often, then one to its end, which must be the straight one's. */
export async function killRounds(service: ServiceFlags, kills: number): Promise<KilledRounds> {
  const { state, socket, model } = service;
  const data = join(state, "data/rows.jsonl");
  Deno.writeTextFileSync(data, pairs(40));
  const config = join(state, "../train.yaml");
  Deno.writeTextFileSync(
    config,
    `iters: ${ITERS}\nlearning_rate: 0.003\nsave_every: 10\ntarget_modules: [all-linear]\nthreads: 1\n`,
  );
  const round = (state: string) =>
    startGraft(
      ...["service", "train", "--state", state, "--model", model, "--train-config", config],
      ...["--data", join(data, "..")],
    );
  const faults: string[] = [];
  const waits: number[] = [];
  let goesOn = true;
  const asking = (async () => {
    while (goesOn) {
      const start = performance.now();
      const answer = await askOnce(socket, "hello").catch((error: Error) => error);
      if (answer instanceof Error || answer.error !== undefined) {
        faults.push(answer instanceof Error ? answer.message : JSON.stringify(answer));
      }
      waits.push(performance.now() - start);
      await sleep(50);
    }
  })();
  const random = Random.fromSeed(14);
  let [killed, rounds, promoted] = [0, 0, false];
  while (!promoted) {
    rounds++;
    const job = round(state);
    const log = new Response(job.stderr).text();
    void job.stdout.cancel();
    let ended = false;
    const status = job.status.finally(() => ended = true);
    while (!ended && killed < kills) {
      await sleep(300 + random.next() % 1500);
      const pid = trainingIn(state);
      if (pid === undefined) continue;
      if (!await isFirstToGo(pid)) faults.push("what trains is not the first to go");
      try {
        Deno.kill(pid, "SIGKILL");
        killed++;
      } catch {
        // it has ended by itself
      }
    }
    const { code } = await status;
    promoted = code === 0;
    // A round gives up after three kills, and the next one begins anew.
    if (!promoted && killed === kills && rounds > kills) {
      faults.push(`no round came to its end: ${await log}`);
      break;
    }
  }
  const followed = await until("the service follows", async () => {
    const { model } = await askOnce(socket, "hello");
    return model === "base" ? undefined : model as string;
  });
  goesOn = false;
  await asking;
  const straight = join(state, "../straight");
  const { code } = await round(straight).output();
  if (code !== 0) faults.push(`a round without kills ended with ${code}`);
  const digests = [join(state, "models", followed), join(straight, "models/0001")]
    .map((folder) => sha256(join(folder, ADAPTER)));
  if (new Set(await Promise.all(digests)).size > 1) faults.push("the adapter is another one");
  waits.sort((a, b) => a - b);
  const p99Ms = Math.round(waits[Math.floor(0.99 * (waits.length - 1))]);
  return { kills: killed, rounds, answers: waits.length, p99Ms, faults: [...new Set(faults)] };
}

/** Whether the kernel would end a process first: it is told so right after its start. */
async function isFirstToGo(pid: number): Promise<boolean> {
  for (let looks = 0; looks < 20; looks++) {
    if (readProcess(pid, "oom_score_adj").trim() === "1000") return true;
    await sleep(50);
  }
  return readProcess(pid, "oom_score_adj") === ""; // it has ended by itself
}

/** A file of a process; empty where it has ended. */
function readProcess(pid: number | string, file: string): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/${file}`);
  } catch {
    return "";
  }
}

/** The process that trains for a service's folder. */
function trainingIn(state: string): number | undefined {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const words = readProcess(name, "cmdline").split("\0");
    const folder = words[words.indexOf("--adapter-path") + 1];
    if (words.includes("train") && folder.startsWith(`${state}/`)) return Number(name);
  }
}
