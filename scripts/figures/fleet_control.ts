/**
 * What a SuperLink holds out: `deno run -A scripts/figures/fleet_control.ts [BOXES…] [--fraction F]`, by itself
 * 100 300 1000 3000. --fraction is the share of the boxes that a round asks; all if absent.
 *
 * Real clients, hundreds to a process, with adapters that are made up; a real SuperLink with a database, and the
 * server part of `fleet/`. Each number of boxes: all join at once, wait for a while, do a round; then the
 * SuperLink is killed, stays away for five seconds, starts again with its database, and does another round.
 * GRAFT_PYTHON must have flwr. Prints a table in Markdown.
 */
import { parseArgs } from "@std/cli/parse-args";
import { TextLineStream } from "@std/streams";
import { fromFileUrl, join } from "@std/path";
import { FLEET } from "../../tests/helpers/fleet_rounds.ts";
import { SuperLink } from "../../tests/helpers/superlink.ts";
import { until } from "../../tests/helpers/until.ts";
import { markdownTable } from "../markdown_table.ts";
import type { ClientFigures } from "./fleet_control/clients.ts";

/** Clients of a process. */
const TOGETHER = 250;
/** Numbers of an adapter: 64 KiB. */
const NUMBERS = 16_384;
/** Seconds in which boxes only ask; as often, until most are answered within `CALM_MS`, but not for longer. */
const [IDLE_S, CALM_MS, MOST_IDLE] = [30, 2000, 12];
const AWAY_MS = 5000;
/** Share of the boxes that a round waits for. */
const REPLY_SHARE = 0.98;
/** Milliseconds that anything may take. */
const PATIENCE_MS = 1_800_000;

const flags = parseArgs(Deno.args, { string: ["fraction"], default: { fraction: "1" } });
const fraction = Number(flags.fraction);
if (!(fraction > 0 && fraction <= 1)) {
  console.error(`graft: --fraction must be > 0 and <= 1: current value is ${flags.fraction}`);
  Deno.exit(2);
}

/** Clients in several processes. */
class Clients implements AsyncDisposable {
  readonly #children: Deno.ChildProcess[];
  readonly #lines: ReadableStreamDefaultReader<string>[];

  constructor(url: string, readonly count: number) {
    const script = fromFileUrl(new URL("fleet_control/clients.ts", import.meta.url));
    const sizes = Array.from(
      { length: Math.ceil(count / TOGETHER) },
      (_, i) => Math.min(TOGETHER, count - i * TOGETHER),
    );
    this.#children = sizes.map((size) =>
      new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", script, url, String(size), String(NUMBERS)],
        stdin: "piped",
        stdout: "piped",
        stderr: "inherit",
      }).spawn()
    );
    this.#lines = this.#children.map(({ stdout }) =>
      stdout.pipeThrough(new TextDecoderStream()).pipeThrough<string>(new TextLineStream())
        .getReader()
    );
  }

  /**
   * What all have seen since this was last asked.
   *
   * @param word `restart` begins to count those that are heard anew
   */
  async figures(word = ""): Promise<ClientFigures> {
    const all = await Promise.all(this.#children.map(async ({ stdin }, i) => {
      const writer = stdin.getWriter();
      await writer.write(new TextEncoder().encode(`${word}\n`));
      writer.releaseLock();
      const { value } = await this.#lines[i].read();
      return JSON.parse(value!) as ClientFigures;
    }));
    const sum = (of: (figures: ClientFigures) => number) =>
      all.reduce((total, figures) => total + of(figures), 0);
    return {
      joined: sum(({ joined }) => joined),
      answered: all.flatMap(({ answered }) => answered),
      failed: sum(({ failed }) => failed),
      heard: sum(({ heard }) => heard),
      replies: sum(({ replies }) => replies),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(this.#children.map(({ status }) => status));
  }
}

const seconds = (since: number) => (performance.now() - since) / 1000;

function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

/** Highest resident memory of a process and its children, in MB. */
function peakMemory(pid: number): number {
  const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(" ")
    .filter((text) => text !== "").map(Number);
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const own = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1000;
  return children.reduce((total, child) => total + peakMemory(child), own);
}

/** What an overloaded SuperLink logs, and tells nobody, once it has ended a run by itself. */
const ENDED = "task-token authentication failed";
/** Milliseconds between looks for that. */
const LOOK_MS = 5000;
/** Milliseconds that a round of boxes may take. */
const roundMs = (boxes: number) => 600_000 + 800 * boxes;

/** A round of all boxes: seconds until it is recorded, and usable replies; 0 for one that did not end. */
async function round(link: SuperLink, folder: string, boxes: number) {
  const asked = Math.ceil(fraction * boxes);
  const began = performance.now();
  const path = join(folder, `run-${began}`);
  const lost = { replies: 0 };
  try {
    await link.run(FLEET, {
      ...{ "rounds": 1, "aggregation": "average", "rank": 4, "min-boxes": boxes },
      ...(fraction < 1 ? { fraction } : {}),
      ...{ "min-replies": Math.floor(REPLY_SHARE * asked), "reply-share": REPLY_SHARE },
      ...{ "save-path": path, "round-timeout": roundMs(boxes) / 1000 },
    });
  } catch (error) {
    console.error((error as Error).message);
    return { seconds: seconds(began), ...lost };
  }
  let lookedAt = performance.now();
  const record = await until("the round is recorded, or has ended", () => {
    const [line] = textOf(join(path, "rounds.jsonl")).split("\n");
    if (line !== "") return JSON.parse(line) as { readonly replies: number };
    if (performance.now() < lookedAt + LOOK_MS) return undefined;
    lookedAt = performance.now();
    return link.log.includes(ENDED) ? lost : undefined;
  }, roundMs(boxes)).catch(() => lost);
  return { seconds: seconds(began), replies: record.replies };
}

/** A file's text; "" where there is none yet. */
function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

async function measure(boxes: number): Promise<string[]> {
  const folder = Deno.makeTempDirSync({ prefix: "graft-fleet-control-" });
  const args = ["--database", join(folder, "superlink.db")];
  let link = await SuperLink.start({ folder, args });
  try {
    const { port } = new URL(link.url);
    const began = performance.now();
    await using clients = new Clients(link.url, boxes);
    let figures = await clients.figures();
    const joining = [...figures.answered];
    while (figures.joined < boxes) {
      if (seconds(began) > PATIENCE_MS / 1000) throw new Error(`${figures.joined} have joined`);
      await new Promise((resolve) => setTimeout(resolve, 500));
      figures = await clients.figures();
      joining.push(...figures.answered);
    }
    const joined = seconds(began);
    console.error(`${boxes} have joined after ${joined.toFixed(0)} s`);
    await clients.figures();
    let idle: ClientFigures;
    let waits = 0;
    do {
      await new Promise((resolve) => setTimeout(resolve, 1000 * IDLE_S));
      idle = await clients.figures();
      const [typical, most] = [0.5, 0.99].map((share) => percentile(idle.answered, share));
      console.error(`${idle.answered.length} calls, p50 ${typical} ms, p99 ${most} ms`);
    } while (percentile(idle.answered, 0.9) > CALM_MS && ++waits < MOST_IDLE);
    const first = await round(link, folder, boxes);
    console.error(`a round: ${first.seconds.toFixed(0)} s, ${first.replies} replies`);
    const busy = await clients.figures();
    const memory = peakMemory(link.pid);
    await link.kill();
    await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
    await clients.figures("restart");
    const restarted = performance.now();
    link = await SuperLink.start({ folder, args, port: Number(port) });
    const returning: number[] = [];
    for (let heard = 0; heard < boxes;) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      const found = await clients.figures();
      heard = found.heard;
      returning.push(...found.answered);
      if (seconds(restarted) > PATIENCE_MS / 1000) throw new Error(`${heard} have come back`);
    }
    const back = seconds(restarted);
    console.error(`back after ${back.toFixed(0)} s`);
    const second = await round(link, folder, boxes);
    const last = await clients.figures();
    const failed = idle.failed + busy.failed + last.failed;
    return [
      String(boxes),
      joined.toFixed(1),
      percentile(joining, 0.99).toFixed(0),
      String(IDLE_S * waits),
      (idle.answered.length / IDLE_S).toFixed(0),
      `${percentile(idle.answered, 0.5).toFixed(0)}, ${percentile(idle.answered, 0.99).toFixed(0)}`,
      `${first.seconds.toFixed(1)} (${first.replies})`,
      `${(busy.answered.length / first.seconds).toFixed(0)}, ${
        percentile(busy.answered, 0.99).toFixed(0)
      }`,
      back.toFixed(1),
      percentile(returning, 0.99).toFixed(0),
      `${second.seconds.toFixed(1)} (${second.replies})`,
      String(failed),
      memory.toFixed(0),
    ];
  } finally {
    await link[Symbol.asyncDispose]();
    Deno.removeSync(folder, { recursive: true });
  }
}

const HEADERS = [
  ...[
    "boxes",
    "all have joined after s",
    "p99 ms",
    "calm after s",
    "calls/s while they wait",
    "p50, p99 ms",
  ],
  ...["a round, s (replies)", "calls/s, p99 ms", "back after a restart, s", "p99 ms"],
  ...["next round, s (replies)", "failed calls", "SuperLink's peak MB"],
];

const counts = flags._.length > 0 ? flags._.map(Number) : [100, 300, 1000, 3000];
const rows: string[][] = [];
for (const boxes of counts) {
  rows.push(await measure(boxes));
  console.error(rows.at(-1)!.join(" | "));
}
console.log(markdownTable(HEADERS, rows));
