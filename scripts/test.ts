/**
 * The everyday tests, cheapest tier first: `deno task test [TIER…] [-- flags of deno test]`. Some files at a
 * time, in processes beside each other (GRAFT_TEST_JOBS, else one for each core, one more for ort and two
 * more for e2e).
 *
 * Of long tables of cases a part is run (`tests/helpers/sampled.ts`), with GRAFT_TEST_ALL=1 all.
 *
 * What failed is told once more in the end. The last line is `N passed, N failed`; the exit code is 1
 * where any test failed or a tier did not run. Skipped tests print `skipped: why` where they are
 * declared; with GRAFT_REQUIRE_TOOLS=1 and GRAFT_REQUIRE_PYTHON=1 none may be skipped.
 */
import { setPriority } from "node:os";
import { join, resolve, toFileUrl } from "@std/path";
import { exampleVariables, makeExampleFolder } from "../tests/helpers/example_folder.ts";
import { bundleGraft, type GraftBundle } from "../tests/helpers/graft_bundle.ts";
import { PythonForks } from "../tests/helpers/run_python.ts";

interface Tier {
  /** What its tests may do. */
  readonly permissions: readonly string[];
  /** Processes more than cores: for tests that wait a part of their time. */
  readonly jobsMore?: number;
  /** Test files of one process: variables, working folder and the state of modules are shared. */
  readonly filesAtOnce: number;
  /**
   * Files that take longest, in their order: begun first, each in a process of its own, so that nothing waits
   * for them in the end.
   */
  readonly slowest?: readonly string[];
  /** Modules, folders and documents whose examples are run with the tests. */
  readonly examples?: readonly string[];
}

/** Of all processes that tests start. */
export const LOWEST_PRIORITY = 19;

/** The tiers, cheapest first. */
const TIERS: Readonly<Record<string, Tier>> = {
  // No permission at all: a pure function cannot reach a file or a library.
  pure: { permissions: [], filesAtOnce: 60 },
  ort: {
    permissions: ["-A"],
    filesAtOnce: 31,
    jobsMore: 1,
    examples: ["mod.ts", "src", "ffi", "docs/library.md"],
  },
  // Most of a file's time goes by in processes of graft, which it starts, stops and waits for.
  e2e: {
    permissions: ["-A"],
    filesAtOnce: 3,
    jobsMore: 2,
    slowest: [
      "service_train_test.ts",
      "service_systemd_test.ts",
      "quickstart_test.ts",
      "merge_faults_test.ts",
      "train_resume_test.ts",
      "execution_providers_test.ts",
      "train_predicted_memory_test.ts",
      "oldest_ort_test.ts",
    ],
  },
};

/**
 * Planning trainings makes much short-lived garbage. A large young heap, and none of the collections
 * that graft asks for to stay small, halve the processor time of the tests.
 */
const uncollected = () => [
  "--v8-flags=--min-semi-space-size=64,--max-semi-space-size=64",
  `--preload=${resolve("tests/helpers/leave_garbage.ts")}`,
];

/**
 * A module of several test files. By itself each file gets an engine of its own, which loads and
 * compiles graft anew.
 */
export function jointModule(files: readonly string[]): string {
  return files.map((file) => `import "${toFileUrl(resolve(file))}";\n`).join("");
}

/** Bytes of memory that a process of tests, with what it starts, can take. */
const JOB_BYTES = 3 * 2 ** 30;

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Counts the test cases of a JUnit report. */
export function countCases(junit: string): Counts {
  let [passed, failed, skipped] = [0, 0, 0];
  for (const [, rest] of junit.matchAll(/<testcase\b[^>]*?(\/>|>[\s\S]*?<\/testcase>)/g)) {
    if (/<(failure|error)\b/.test(rest)) failed++;
    else if (/<skipped\b/.test(rest)) skipped++;
    else passed++;
  }
  return { passed, failed, skipped };
}

/** The sum of counts. */
export function sumCounts(all: readonly Counts[]): Counts {
  const sum = (key: keyof Counts) => all.reduce((total, counts) => total + counts[key], 0);
  return { passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") };
}

/** Lines of a failed process's end that are told again where `deno test` told no error. */
const LINES_AGAIN = 40;

/** What a process of tests told about what failed: its last part, from the errors on. */
export function failureReport(output: string): string {
  const lines = output.trimEnd().split("\n");
  // In colour, the title stands behind an escape.
  const errors = lines.findLastIndex((line) => /(^|\[\d+m) ERRORS /.test(line));
  return lines.slice(errors < 0 ? -LINES_AGAIN : errors).join("\n");
}

/**
 * Divides files among processes: of files whose names begin alike, and which therefore take long
 * together, each process gets some.
 *
 * @param most files of one process
 */
export function divideFiles(files: readonly string[], most: number): string[][] {
  const processes = Math.ceil(files.length / Math.min(most, files.length));
  return Array.from(
    { length: processes },
    (_, p) => files.filter((_, i) => i % processes === p),
  );
}

/**
 * Calls a function for each value in order, some of them at a time.
 *
 * @param jobs how many at a time, or for each value how many with it
 * @returns what it returned, in the order of the values
 */
export async function inTurns<T, R>(
  values: readonly T[],
  jobs: number | ((value: T) => number),
  each: (value: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  /** What runs, and what has failed. */
  const working = new Set<Promise<void>>();
  for (const [index, value] of values.entries()) {
    const most = typeof jobs === "number" ? jobs : jobs(value);
    while (working.size >= most) await Promise.race(working);
    const run = each(value, index).then((result) => {
      results[index] = result;
      working.delete(run);
    });
    run.catch(() => {}); // told below, even if another fails first
    working.add(run);
  }
  await Promise.all(working);
  return results;
}

/**
 * Runs test files in a process; what could not run, or failed outside its tests, is a failure.
 *
 * @param told gets what is told of failures
 */
async function runFiles(
  files: readonly string[],
  flags: readonly string[],
  report: string,
  told: string[],
): Promise<Counts> {
  let entry = files[0];
  if (files.length > 1) {
    entry = report.replace(/\.xml$/, "_test.ts");
    await Deno.writeTextFile(entry, jointModule(files));
  }
  return await runProcess([...flags, entry], files.join(" "), report, told);
}

/** Runs the examples of documents and docstrings, as {@linkcode runFiles} runs tests. */
async function runExamples(
  paths: readonly string[],
  flags: readonly string[],
  report: string,
  told: string[],
): Promise<Counts> {
  const folder = report.replace(/\.xml$/, "");
  makeExampleFolder(folder);
  const args = ["--doc", ...flags, ...paths.map((path) => resolve(path))];
  const where = { cwd: folder, env: exampleVariables(folder) };
  return await runProcess(args, `Examples of ${paths.join(", ")}`, report, told, where);
}

/** Runs `deno test`; what could not run, or failed outside its tests, is a failure. */
async function runProcess(
  args: readonly string[],
  name: string,
  report: string,
  told: string[],
  where: Pick<Deno.CommandOptions, "cwd" | "env"> = {},
): Promise<Counts> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--no-prompt",
      "--no-check", // `deno task ok` checks types, once for all
      ...uncollected(),
      `--junit-path=${report}`,
      `--config=${resolve("deno.json")}`,
      ...args,
    ],
    ...where,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  // Told at once: lines of processes beside each other would not be told apart.
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const collect = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    for await (const chunk of stream) chunks.push(chunk);
  };
  const [{ success, code }] = await Promise.all([
    child.status,
    collect(child.stdout),
    collect(child.stderr),
  ]);
  let counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  try {
    counts = countCases(await Deno.readTextFile(report));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const ran = counts.passed + counts.failed + counts.skipped > 0;
  // A filter leaves most files without a test.
  const output = await new Blob(chunks).text();
  if (ran || !success) console.log(output);
  if (!success) told.push(failureReport(output));
  if (success || counts.failed > 0) return counts;
  told.push(`${name}: ended with code ${code}`);
  return { ...counts, failed: 1 };
}

function testFiles(tier: string): string[] {
  return [...Deno.readDirSync(`tests/${tier}`)].map(({ name }) => name)
    .filter((name) => name.endsWith("_test.ts")).sort()
    .map((name) => `tests/${tier}/${name}`);
}

/**
 * Processes at a time: `GRAFT_TEST_JOBS`, else as many as memory and cores allow.
 *
 * @param more than cores
 */
export function jobCount(more = 0): number {
  const asked = Deno.env.get("GRAFT_TEST_JOBS");
  if (asked !== undefined) {
    const jobs = Number(asked);
    if (Number.isInteger(jobs) && jobs > 0) return jobs;
    console.error(`GRAFT_TEST_JOBS must be a whole number >= 1: current value is "${asked}"`);
    Deno.exit(2);
  }
  const fitting = Math.floor(Deno.systemMemoryInfo().total / JOB_BYTES);
  return Math.max(1, Math.min(navigator.hardwareConcurrency + more, fitting));
}

/** A process of tests that is to run. */
interface TierRun {
  readonly tier: string;
  run(): Promise<Counts>;
}

/** A tier's processes, in the order in which they begin. */
function runsOf(
  tier: string,
  flags: readonly string[],
  directory: string,
  told: string[],
): TierRun[] {
  const { permissions, filesAtOnce, slowest = [], examples } = TIERS[tier];
  const all = [...permissions, ...flags];
  const files = testFiles(tier);
  const alone = slowest.map((name) => `tests/${tier}/${name}`);
  const groups = [
    ...alone.map((file) => [file]),
    ...divideFiles(files.filter((file) => !alone.includes(file)), filesAtOnce),
  ];
  const runs = groups.map((files) => (report: string) => runFiles(files, all, report, told));
  if (examples !== undefined) runs.unshift((report) => runExamples(examples, all, report, told));
  return runs.map((run, i) => ({ tier, run: () => run(join(directory, `${tier}-${i}.xml`)) }));
}

/** What processes of graft are started from; `undefined` where that is the compiled one, or the source. */
async function bundleHere(): Promise<GraftBundle | undefined> {
  if (Deno.env.has("GRAFT_BINARY")) return undefined;
  try {
    return await bundleGraft();
  } catch (error) {
    console.error(`graft is started from its source, which takes longer: ${error}`);
    return undefined;
  }
}

if (import.meta.main) {
  const split = Deno.args.indexOf("--");
  const named = split < 0 ? Deno.args : Deno.args.slice(0, split);
  const flags = split < 0 ? [] : Deno.args.slice(split + 1);
  const unknown = named.filter((tier) => !(tier in TIERS));
  if (unknown.length > 0) {
    console.error(`Unknown tier "${unknown}": tiers are ${Object.keys(TIERS).join(", ")}`);
    Deno.exit(2);
  }
  const tiers = named.length > 0 ? named : Object.keys(TIERS);
  // Trainings and merges beside a server have it, too: other tests must not starve them.
  setPriority(LOWEST_PRIORITY);
  const jobs = new Map(tiers.map((tier) => [tier, jobCount(TIERS[tier].jobsMore)]));
  const directory = await Deno.makeTempDir({ prefix: "graft-tests-" });
  const counted: Counts[] = [];
  const told: string[] = [];
  try {
    // What a tier without permissions cannot start needs no preparation.
    const starts = tiers.some((tier) => TIERS[tier].permissions.length > 0);
    await using forks = starts ? await PythonForks.start(directory) : undefined;
    using bundle = starts ? await bundleHere() : undefined;
    for (const [name, value] of Object.entries({ ...forks?.variables, ...bundle?.variables })) {
      Deno.env.set(name, value);
    }
    // One queue: the last processes of a tier run beside the first ones of the next.
    const runs = tiers.flatMap((tier) => runsOf(tier, flags, directory, told));
    counted.push(...await inTurns(runs, ({ tier }) => jobs.get(tier)!, ({ run }) => run()));
    for (const tier of tiers) {
      const { passed, failed } = sumCounts(counted.filter((_, i) => runs[i].tier === tier));
      console.log(`--- tests/${tier}: ${passed} passed, ${failed} failed`);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
  const { passed, failed: broken, skipped } = sumCounts(counted);
  if (told.length > 0) console.log(`\n--- what failed\n\n${told.join("\n\n")}`);
  // Where everything must be there (.ci/run), a test that does not run is one that failed.
  const maySkip = ["GRAFT_REQUIRE_TOOLS", "GRAFT_REQUIRE_PYTHON"]
    .some((name) => Deno.env.get(name) !== "1");
  if (skipped > 0) {
    console.log(`\n${skipped} skipped${maySkip ? "" : ", which counts as failed here"}`);
  }
  const failed = broken + (maySkip ? 0 : skipped);
  console.log(`\n${passed} passed, ${failed} failed`);
  if (failed > 0) Deno.exit(1);
}
