/**
 * What training on several boards sends and how long it takes, over wires between network namespaces: the
 * bytes of a step and of a sum of an adapter's gradient, by the cards' counters, beside the formula; and
 * percentiles of the sum's time at 1 Gbit/s and 100 Mbit/s. Prints Markdown tables. Needs root, iproute2
 * and nftables. About four minutes; the times need a machine with nothing else to do.
 *
 * usage: deno run -A scripts/figures/ranks_wire.ts [--json PATH] (the figures, for `ranks_model.ts`)
 */
import { parseArgs } from "@std/cli/parse-args";
import { fromFileUrl, join } from "@std/path";
import { commandLine } from "../../tests/helpers/graft.ts";
import { modelDir } from "../../tests/helpers/fixture_models.ts";
import { mpiMissing } from "../../tests/helpers/mpi_jobs.ts";
import { adapterNumbers, pairs } from "../../tests/helpers/training_runs.ts";
import { Wire, wireMissing } from "../../tests/helpers/wire.ts";
import { startOverWire } from "../../tests/helpers/wire_jobs.ts";
import { markdownTable } from "../markdown_table.ts";
import type { Stream, Sums, SumsTaken } from "./ranks/all_reduce_child.ts";
import { ADAPTERS, bytesOnWire } from "./ranks/step_time.ts";

/** Figures of an adapter's sum on a wire. */
export interface WireFigure {
  readonly ranks: number;
  readonly bitsPerSecond: number;
  readonly bytes: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly bytesSent: number;
}

const RANKS = [2, 4];
const WIRES = [{ name: "1 Gbit/s", bitsPerSecond: 1e9 }, {
  name: "100 Mbit/s",
  bitsPerSecond: 1e8,
}];
/** Seconds that a figure may take, and the sums that it is taken of at least and at most. */
const [SECONDS, LEAST, MOST] = [15, 12, 200];
/** A sum of one number: what a message takes that is short. */
const ONE = { name: "one number", floats: 1 };
const CHILD = fromFileUrl(new URL("./ranks/all_reduce_child.ts", import.meta.url));

const missing = mpiMissing() ?? wireMissing();
if (missing !== undefined) {
  console.error(`graft: ${missing}`);
  Deno.exit(69);
}
const flags = parseArgs(Deno.args, { string: ["json"] });
const folder = Deno.makeTempDirSync();
const figures: WireFigure[] = [];
try {
  const rows: string[][] = [];
  const streams: string[] = [];
  for (const { name, bitsPerSecond } of WIRES) {
    for (const ranks of RANKS) {
      const summed = [ONE, ...ADAPTERS];
      const [stream, ...taken] = await sumsOn(
        ranks,
        bitsPerSecond,
        summed.map(({ floats }) => floats),
      );
      streams.push(
        `${ranks} boards at ${name}: a long message goes at ` +
          `${((stream as Stream).bitsPerSecond / 1e6).toFixed(0)} Mbit/s.`,
      );
      for (const [i, one] of (taken as SumsTaken[]).entries()) {
        const sorted = one.milliseconds.toSorted((a, b) => a - b);
        const figure = {
          ...{ ranks, bitsPerSecond, bytes: 4 * one.floats, bytesSent: one.bytesSent },
          p50Ms: percentile(sorted, 0.5),
          p99Ms: percentile(sorted, 0.99),
        };
        figures.push(figure);
        const formula = bytesOnWire(ranks, figure.bytes);
        rows.push([
          ...[name, `${ranks}`, summed[i].name, `${one.repeats}`],
          ...[figure.p50Ms, figure.p99Ms].map((ms) => ms.toFixed(ms < 10 ? 2 : 0)),
          ...[millions(one.bytesSent), millions(formula), ratio(one.bytesSent, formula)],
          `${(100 * 8 * formula / bitsPerSecond / (figure.p50Ms / 1000)).toFixed(1)}%`,
        ]);
      }
    }
  }
  // deno-fmt-ignore
  console.log(markdownTable(
    ["wire", "boards", "sum of", "sums", "p50 ms", "p99 ms", "sent MB", "2(N−1)/N·S MB", "ratio", "of the rate"],
    rows));
  console.log(`\n${streams.join("\n")}\n`);
  const steps = [];
  for (const ranks of RANKS) {
    const { sent, bytes } = await bytesOfStep(ranks);
    const formula = bytesOnWire(ranks, bytes);
    steps.push([
      `${ranks}`,
      millions(bytes),
      millions(sent),
      millions(formula),
      ratio(sent, formula),
    ]);
  }
  // deno-fmt-ignore
  console.log(markdownTable(
    ["boards", "gradient MB", "sent in a step MB", "2(N−1)/N·S MB", "ratio"], steps));
  if (flags.json !== undefined) {
    Deno.writeTextFileSync(flags.json, JSON.stringify(figures, null, 2));
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}

/** What rank 0 prints of sums of arrays of these sizes. */
async function sumsOn(ranks: number, bitsPerSecond: number, sizes: readonly number[]) {
  using wire = new Wire(ranks, { bitsPerSecond });
  const sums = sizes.map((floats): Sums => {
    const seconds = 8 * bytesOnWire(ranks, 4 * floats) / bitsPerSecond;
    return { floats, repeats: Math.round(Math.min(MOST, Math.max(LEAST, SECONDS / seconds))) };
  });
  const words = [Deno.execPath(), "run", "-A", "--no-check", CHILD, JSON.stringify(sums)];
  return await linesOf<Stream | SumsTaken>(startOverWire(wire, folder, words));
}

/** The bytes that a board sends in a step of training a tiny model: the difference of two runs. */
async function bytesOfStep(ranks: number) {
  const data = join(folder, "data");
  Deno.mkdirSync(data, { recursive: true });
  Deno.writeTextFileSync(join(data, "train.jsonl"), pairs(22));
  const adapter = join(folder, `adapter-${ranks}`);
  const sentBy = async (steps: number) => {
    using wire = new Wire(ranks, { bitsPerSecond: WIRES[0].bitsPerSecond });
    const words = commandLine([
      ...["train", "--model", modelDir("tiny-llama-genai-int4"), "--data", data, "--threads=1"],
      ...["--batch-size=8", "--target-modules=all-linear", "--rank=64", "--save-every=1000"],
      ...[`--iters=${steps}`, "--overwrite", "--adapter-path", adapter],
    ]);
    const { success, stderr } = await startOverWire(wire, folder, words).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    const sent = Array.from({ length: ranks }, (_, board) => wire.bytes(board).sent);
    return sent.reduce((a, b) => a + b) / ranks;
  };
  const [few, many] = [5, 25];
  const sent = (await sentBy(many) - await sentBy(few)) / (many - few);
  const bytes = 4 * adapterNumbers(adapter).length;
  return { sent, bytes };
}

async function linesOf<T>(child: Deno.ChildProcess): Promise<T[]> {
  const { success, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  if (!success) throw new Error(text.decode(stderr));
  return text.decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

function millions(bytes: number): string {
  return (bytes / 1e6).toPrecision(3);
}

function ratio(found: number, expected: number): string {
  return (found / expected).toFixed(3);
}
