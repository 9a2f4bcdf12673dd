/**
 * The workloads B1 to B7 of BENCHMARKS.md, graft alternately with its peers where they are
 * installed, embeddings beside onnxruntime, and tables of how training grows, of memory that is
 * predicted, and of what merges take. Prints a JSON object a workload and writes
 * docs/benchmarks.md, its plot, and the figures as docs/benchmarks.json; workloads that were not
 * asked for keep their earlier figures there.
 *
 * usage: deno task bench [--only B1,B5,growth] [--adapters e2e.qv,e2e.all] [--rounds 3] [--quick]
 *   [--limit ROWS] [--shared ../shared] [--python .venv/bin/python] [--out docs]
 * --quick: one round on the first 128 rows of each file; writes no page unless --out is given.
 *
 * The first round trains on all rows, and losses are its; later ones of B1 to B4 add speeds on the
 * first 96 rows, those of B5 train on all with other seeds.
 * GRAFT_PYTHON names the Python with the peers (tests/requirements.txt), too.
 */
import { parseArgs } from "@std/cli/parse-args";
import { exists, makeDirectory } from "../../src/system/durable_files.ts";
import { type Context, limitedData, machineOf, peerVersions, ROOT } from "./context.ts";
import { embeddings, mergeMemory, predictedMemory } from "./figure_tables.ts";
import { growth } from "./growth.ts";
import { decoding, mergedAgainstBase } from "./inference.ts";
import { benchmarksPage, pointsOf } from "./page.ts";
import { memorySpeedPlot } from "./plot.ts";
import { type KeptReport, type Report, reportJson, withoutLosses } from "./results.ts";
import { ADAPTERS, classifier, languageModel } from "./training.ts";

const WORKLOADS = [
  ..."B1 B2 B3 B4 B5 B6 B7".split(" "),
  ..."embeddings growth memory merge".split(" "),
];
const QUICK_ROWS = 128;
/** A dozen steps: enough for a speed. */
const SHORT_ROWS = 96;
const PLOT = "benchmarks.svg";

/** What the command line asks for; ends the script where that is impossible. */
function settingsOf(args: readonly string[]) {
  const flags = parseArgs(args, {
    boolean: ["quick"],
    string: ["only", "adapters", "rounds", "limit", "shared", "python", "out"],
    default: { shared: "../shared" },
    // An hour of something else than what was asked for would follow.
    unknown: (flag: string) => refuse(`There is no ${flag}; this script begins with what it takes`),
  });
  const only = new Set<string>(flags.only?.split(",") ?? WORKLOADS);
  const unknown = [...only].filter((name) => !WORKLOADS.includes(name));
  if (unknown.length > 0) {
    refuse(`There is no workload ${unknown.join()}; there are ${WORKLOADS.join(", ")}`);
  }
  const adapters = new Set<string>(flags.adapters?.split(",") ?? ADAPTERS);
  const strange = [...adapters].filter((name) => !ADAPTERS.includes(name));
  if (strange.length > 0) {
    refuse(`There are no adapters ${strange.join()}; B1 to B4 have ${ADAPTERS.join(", ")}`);
  }
  const limit = flags.limit === undefined
    ? flags.quick ? QUICK_ROWS : undefined
    : Number(flags.limit);
  const rounds = Number(flags.rounds ?? (flags.quick ? 1 : 3));
  for (const [name, value] of [["--rounds", rounds], ["--limit", limit ?? 1]] as const) {
    if (!Number.isInteger(value) || value < 1) {
      refuse(`${name} must be a whole number >= 1: current value is ${value}`);
    }
  }
  const shared: string = flags.shared;
  if (!exists(`${shared}/bench/peft_train.py`)) {
    refuse(`${shared} has no bench/peft_train.py, models and data: --shared names their folder`);
  }
  const python: string = flags.python ?? Deno.env.get("GRAFT_PYTHON") ?? ".venv/bin/python";
  const out: string | undefined = flags.out ?? (limit === undefined ? "docs" : undefined);
  return { only, adapters, limit, rounds, shared, python, out };
}

function refuse(message: string): never {
  console.error(message);
  Deno.exit(2);
}

async function* reports(
  context: Context,
  only: ReadonlySet<string>,
  adapters: ReadonlySet<string>,
): AsyncGenerator<Report> {
  if (["B1", "B2", "B3", "B4"].some((name) => only.has(name))) {
    yield* languageModel(context, only, adapters);
  }
  if (only.has("B5")) yield* classifier(context);
  if (only.has("B6")) yield* mergedAgainstBase(context);
  if (only.has("B7")) yield* decoding(context);
  if (only.has("embeddings")) yield* embeddings(context);
  if (only.has("growth")) yield* growth(context);
  if (only.has("memory")) yield* predictedMemory(context);
  if (only.has("merge")) yield* mergeMemory(context);
}

/** Puts a report into the folder's figures and writes the page anew. */
function write(out: string, report: KeptReport): void {
  const [page, figures] = [`${out}/benchmarks.md`, `${out}/benchmarks.json`];
  const picture = `${out}/${PLOT}`;
  const before: readonly KeptReport[] = exists(figures)
    ? JSON.parse(Deno.readTextFileSync(figures))
    : [];
  const kept = [...before.filter(({ workload }) => workload !== report.workload), report]
    .toSorted((a, b) => a.workload < b.workload ? -1 : 1);
  const points = pointsOf(kept);
  makeDirectory(out);
  Deno.writeTextFileSync(figures, JSON.stringify(kept, null, 2));
  if (points.length > 0) Deno.writeTextFileSync(picture, memorySpeedPlot(points));
  Deno.writeTextFileSync(page, benchmarksPage(kept, points.length > 0 ? PLOT : undefined));
  const written = [page, figures, ...(points.length > 0 ? [picture] : [])];
  new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", ...written], cwd: ROOT })
    .outputSync();
}

const { only, adapters, out, ...settings } = settingsOf(Deno.args);
const folder = Deno.makeTempDirSync({ prefix: "graft-bench-" });
// What was measured here before must not decide what is measured now.
Deno.env.set("GRAFT_CACHE_DIR", `${folder}/cache`);
try {
  const short = `${folder}/short`;
  makeDirectory(short);
  const context: Context = {
    ...settings,
    folder,
    data: limitedData(settings.shared, folder, settings.limit),
    shortData: limitedData(
      settings.shared,
      short,
      Math.min(settings.limit ?? Infinity, SHORT_ROWS),
    ),
    versions: peerVersions(settings.python),
  };
  const machine = machineOf(context);
  console.error(JSON.stringify(machine));
  for await (const report of reports(context, only, adapters)) {
    console.log(reportJson({ ...report, machine }));
    if (out !== undefined) write(out, withoutLosses({ ...report, machine }));
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
