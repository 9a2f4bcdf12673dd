/**
 * A fleet that is given releases while its boxes lose their power and its server is killed: a good release in
 * waves, a bad one that is stopped in the first wave, a better one, and a rollback. Most boxes have canned
 * merges; the last ones train nothing either, but merge and measure a tiny model as any box does. Prints a JSON
 * line for each part; ends with 1 where a box used a model without its certificate, or the wrong one in the end.
 *
 * usage: deno run -A scripts/campaigns/rollout.ts [BOXES, default 50] [of these with true merges, default 4]
 */
import { fromFileUrl, join } from "@std/path";
import { fineTune } from "../../src/finetune/mod.ts";
import { conduct } from "../../src/fleet/operator/conduct.ts";
import { FleetDesk } from "../../src/fleet/operator/fleet_desk.ts";
import { publish } from "../../src/fleet/operator/publish.ts";
import { findSource, rowsSource } from "../../src/fleet/operator/release_files.ts";
import { rollBack } from "../../src/fleet/operator/roll_back.ts";
import { parseWaves } from "../../src/fleet/release/waves.ts";
import { modelDir } from "../../tests/helpers/fixture_models.ts";
import { commandLine } from "../../tests/helpers/graft.ts";
import { NatsServer } from "../../tests/helpers/nats_server.ts";
import { keyPair } from "../../tests/helpers/releases.ts";
import { pairs } from "../../tests/helpers/training_runs.ts";
import { until } from "../../tests/helpers/until.ts";
import { BoxProcess } from "./rollout/box_process.ts";
import { inUse, promotions } from "./rollout/check_boxes.ts";
import { openPatient } from "./rollout/fleet_store.ts";

const [count, trueCount] = [Deno.args[0] ?? 50, Deno.args[1] ?? 4].map(Number);
if (!(count >= 4) || !(trueCount >= 0 && trueCount <= count)) {
  console.error("graft: BOXES must be >= 4, and those with true merges among them");
  Deno.exit(2);
}

/** Boxes of one process. */
const GROUP = 5;
/** Power losses of a box with true merges in one part. */
const TRUE_KILLS = 2;
/** Longest time of one part. */
const MOST_MS = 900_000;
const WAVES = parseWaves(["4", "20", "100"]);
const POLICY = { minReported: 0.9, maxRejected: 0.1, soakSeconds: 0 };
const MODEL = modelDir("tiny-llama-genai-int4");
const CANNED = fromFileUrl(new URL("rollout/canned_boxes.ts", import.meta.url));
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const pick = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)];

const folder = Deno.makeTempDirSync({ prefix: "graft-rollout-" });
const names = Array.from({ length: count }, (_, i) => `box-${i}`);
const [canned, real] = [names.slice(trueCount), names.slice(0, trueCount)];
const faults: string[] = [];

/** Three adapters of the tiny model: one that learned, one that was spoiled, one that learned more. */
async function trainAll(data: string): Promise<Readonly<Record<string, string>>> {
  Deno.mkdirSync(data);
  Deno.writeTextFileSync(join(data, "train.jsonl"), pairs(12));
  Deno.writeTextFileSync(join(data, "valid.jsonl"), pairs(6));
  const train = async (name: string, iters: number, learningRate: number) => {
    const adapterPath = join(folder, "adapters", name);
    await fineTune({
      ...{ model: MODEL, data, adapterPath, iters, learningRate },
      ...{ targetModules: ["all-linear"], batchSize: 4, threads: 1 },
    });
    return adapterPath;
  };
  return {
    first: await train("first", 40, 0.01),
    worse: await train("worse", 2, 0.9),
    second: await train("second", 200, 0.01),
  };
}

function processes(server: string, publicKey: string): BoxProcess[] {
  const groups = Array.from(
    { length: Math.ceil(canned.length / GROUP) },
    (_, i) => canned.slice(GROUP * i, GROUP * (i + 1)),
  );
  const run = ["run", "-A", "--no-check", CANNED, server, publicKey, folder];
  return [
    ...groups.map((boxes) => new BoxProcess(boxes, [Deno.execPath(), ...run, ...boxes])),
    ...real.map((box) => {
      const words = commandLine([
        ...["fleet", "follow", "--apply", "--box", box, "--public-key", publicKey],
        ...["--server", server, "--model", MODEL, "--threads", "1", "--interval", "5s"],
        ...["--state", join(folder, box, "state"), "--inbox", join(folder, box, "inbox")],
      ]);
      return new BoxProcess([box], words);
    }),
  ];
}

/** Looks at all boxes again and again: a model in use has its certificate, and is none that is bad. */
async function watchBoxes(signal: AbortSignal, forbidden: string): Promise<void> {
  while (!signal.aborted) {
    for (const box of names) {
      const { name, isCertified } = inUse(join(folder, box));
      // A link may be read while an older model is removed: another look decides.
      if (!isCertified && !inUse(join(folder, box)).isCertified) {
        faults.push(`${box} uses ${name} without its certificate`);
      }
      if (name === forbidden) faults.push(`${box} uses ${name}`);
    }
    await pause(300);
  }
}

/** Switches boxes off and on, most of them by a power loss, and the server once. */
async function disturb(all: readonly BoxProcess[], server: NatsServer, signal: AbortSignal) {
  let restarts = 0;
  const before = new Map(all.map((process) => [process, process.kills]));
  // A merge begins again after each: boxes that take their time would never come to an end.
  const spared = (process: BoxProcess) =>
    real.includes(process.boxes[0]) && process.kills - before.get(process)! >= TRUE_KILLS;
  const back: Promise<void>[] = [];
  while (!signal.aborted) {
    await pause(500 + Math.random() * 1500);
    const on = all.filter((process) => process.isOn && !spared(process));
    if (restarts === 0 && Math.random() < 0.15) {
      restarts++;
      await server.stop("SIGKILL");
      await pause(2000);
      await server.start();
    } else if (on.length > 0 && all.filter(({ isOn }) => isOn).length > all.length / 2) {
      const process = pick(on);
      await process.stop(Math.random() < 0.7 ? "KILL" : "TERM");
      back.push(pause(Math.random() * 6000).then(() => process.start()));
    }
  }
  await Promise.all(back);
  return restarts;
}

await using server = await NatsServer.start(join(folder, "nats"));
const data = join(folder, "data");
const adapters = await trainAll(data);
const { key, keys, publicKey } = keyPair();
const publicPath = join(folder, "fleet.pub");
Deno.writeTextFileSync(publicPath, publicKey);
await using store = await openPatient(server.url);
const desk = new FleetDesk(store, "graft", keys);
await store.create();
const all = processes(server.url, publicPath);

/** One part: an order, what it leads to under disturbance, and what all boxes use in the end. */
async function part(what: string, wanted: string, forbidden: string, give: () => Promise<object>) {
  const over = new AbortController();
  const started = performance.now();
  const kills = () => all.reduce((sum, { kills }) => sum + kills, 0);
  const before = kills();
  const watched = watchBoxes(over.signal, forbidden);
  const disturbed = disturb(all, server, over.signal);
  const facts = await give();
  const seconds = (performance.now() - started) / 1000;
  // With peace, all come to the same.
  const wrong = () => names.filter((box) => inUse(join(folder, box)).name !== wanted);
  await pause(5000);
  over.abort();
  const serverKills = await disturbed;
  const settled = await until(
    `all boxes use ${wanted}`,
    () => wrong().length === 0 || undefined,
    MOST_MS,
  )
    .catch(() => false);
  await watched;
  if (!settled) faults.push(`${wrong().join(", ")} do not use ${wanted} after ${what}`);
  console.log(JSON.stringify({
    ...{ what, seconds: Math.round(seconds), boxKills: kills() - before, serverKills },
    ...{ settledSeconds: Math.round((performance.now() - started) / 1000), ...facts },
    faults: faults.length,
  }));
}

async function roll(name: string): Promise<object> {
  const { kind, files } = findSource(adapters[name]);
  const source = { kind, files: [...files, ...rowsSource(data)] };
  await insist(() => publish(desk, key, { name, source, waves: WAVES, policy: POLICY }));
  const looks: number[] = [];
  const end = await insist(() =>
    conduct(desk, key, AbortSignal.timeout(MOST_MS), ({ order, verdict }) => {
      if (order.target?.name === name) looks[order.wave] = verdict.count.boxes;
    }, 500)
  );
  const { promoted, rejected, failed } = end?.verdict.count ?? {};
  return { ended: end?.verdict.is ?? "too late", waves: looks, promoted, rejected, failed };
}

/** The server may be away at the moment. */
async function insist<T>(action: () => Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (attempt === 20) throw error;
      await pause(1000);
    }
  }
}

try {
  for (const process of all) process.start();
  await until("all boxes are known", async () => {
    if (await store.order() === undefined) {
      // Nothing is asked of them yet: an order without a release makes them report.
      const policy = POLICY;
      const order = {
        fleet: "graft",
        sequence: 1,
        issuedAt: new Date().toISOString(),
        target: null,
      };
      const rest = { withdrawn: [], waves: ["100%"], wave: 0, open: 1, policy, why: "hello" };
      await desk.give({ ...order, ...rest }, undefined, key);
    }
    return (await desk.reports()).length === count || undefined;
  }, MOST_MS);
  await part("a good release", "first", "worse", () => roll("first"));
  await part("a bad release", "first", "worse", () => roll("worse"));
  await part("a better release", "second", "worse", () => roll("second"));
  await part("a rollback", "first", "worse", async () => {
    const { why } = await insist(() => rollBack(desk, key));
    return { why };
  });
} finally {
  await Promise.all(all.map((process) => process.stop("KILL")));
}
const found = names.map((box) => promotions(join(folder, box)));
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const unmeasured = sum(found.map(({ unmeasured }) => unmeasured));
if (unmeasured > 0) faults.push(`${unmeasured} promotions without a measurement`);
console.log(JSON.stringify({
  ...{ boxes: count, trueMerges: trueCount, promotions: sum(found.map(({ count }) => count)) },
  ...{ unmeasured, faults: [...new Set(faults)] },
}));
Deno.removeSync(folder, { recursive: true });
await store[Symbol.asyncDispose]();
await server.stop();
Deno.exit(faults.length === 0 ? 0 : 1);
