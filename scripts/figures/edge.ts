/**
 * The way of an operator on the compiled binaries, from a clean clone on x64: `deno task edge`.
 *
 * Compiles both, or takes the files that `GRAFT_BINARY` and `GRAFT_BINARY_ARM64` name; unless
 * `DENORT_BIN` is set, `scripts/denort.ts` brings what that needs. Prints a line of JSON for each step
 * as it ends: sizes and start times; doctor, train, merge, run; the service under a real systemd, with
 * a round that trains and promotes, and its units' exposure; the arm64 binary under qemu. Ends with 1
 * where a step failed, where the machine lacks something for one (`skipped`), or where a figure broke
 * its limit, which is then named in the step's `broken`.
 */
import { fromFileUrl, join } from "@std/path";
import { median } from "../../src/statistics.ts";
import { processor } from "../../src/system/processor.ts";
import { type Binary, emulated, native, printed } from "../../tests/helpers/binary.ts";
import { toolMissing } from "../../tests/helpers/requirements.ts";
import { Systemd, systemdMissing } from "../../tests/helpers/systemd.ts";
import { until } from "../../tests/helpers/until.ts";
import { SLOW, tinyWay } from "../../tests/helpers/tiny_way.ts";
import { readMetrics } from "../../tests/helpers/training_runs.ts";
import { inTempDir } from "../../tests/helpers/temp_dir.ts";
import { unitExposures } from "../../tests/helpers/unit_exposure.ts";
import { UNITS } from "../../src/service/units.ts";
import { binaryName } from "../compile.ts";
import { compareReleases, lowestGlibc, type Target } from "../compile/elf.ts";
import { run } from "../compile/run.ts";
import { librarySource } from "../compile/stage.ts";
import { brokenLimits, type Limits } from "./limits.ts";
import { measureStarts } from "./starts.ts";

const ROOT = fromFileUrl(new URL("../..", import.meta.url));
const SENTENCE = "turn on the light";
const UNIT = UNITS.service;
/** What a binary brings; both are compiled whole. */
const WHOLE = { library: true, model: true };

type Figures = Readonly<Record<string, unknown>>;

/**
 * Seconds of a start on two cores, the median of ten.
 * To `--version`, and to a sentence's vector by the embedded model.
 */
const START_LIMITS: Limits = {
  versionSeconds: { atMost: 0.3 },
  sentenceSeconds: { atMost: 1 },
};
/** And to its class, by the embedded model with the classes that it learned. */
const CLASSIFIED_LIMITS: Limits = { classifiedSeconds: { atMost: 1 } };
/** What README names as the lowest C library; JetPack 5 has 2.31. */
const GLIBC_LIMITS: Limits = { x64Glibc: { release: "2.28" }, arm64Glibc: { release: "2.28" } };
const CAN_RUN: Limits = { canRun: { is: true } };
const SERVICE_LIMITS: Limits = {
  state: { is: "active" },
  model: { is: "base" },
  round: { is: "promoted" },
  modelAfterRound: { is: "0001" },
  largestExposure: { atMost: 1.5 },
  afterUninstall: { is: "not-found" },
};
/** The arm64 binary beside the x64 one. */
const ARM64_LIMITS: Limits = {
  ...CAN_RUN,
  steps: { is: 10 },
  largestLossDifference: { atMost: 1e-4 },
  sameAnswer: { is: true },
};
/** By `systemd-analyze security`; with a GPU it is printed alone. */
const EXPOSURE_LIMITS: Limits = { largestWithoutGpu: { atMost: 1.5 } };

/** Prints what a step gave; one that fails does not keep the next from being seen. */
async function step(
  name: string,
  missing: string | undefined,
  body: () => Figures | Promise<Figures>,
  limits: Limits = {},
): Promise<void> {
  const print = (figures: Figures) => console.log(JSON.stringify({ step: name, ...figures }));
  if (missing !== undefined) {
    Deno.exitCode = 1;
    return print({ skipped: missing });
  }
  const start = performance.now();
  try {
    const figures = await body();
    const broken = brokenLimits(figures, limits);
    const seconds = rounded((performance.now() - start) / 1000);
    print({ ...figures, seconds, ...(broken.length === 0 ? {} : { broken }) });
    if (broken.length > 0) Deno.exitCode = 1;
  } catch (error) {
    print({ failed: error instanceof Error ? error.message : String(error) });
    Deno.exitCode = 1;
  }
}

function rounded(value: number): number {
  return Number(value.toFixed(3));
}

function megabytes(path: string): number {
  return Math.round(Deno.statSync(path).size / 1e6);
}

/** The C library that a binary and the ONNX Runtime that is put into it need. */
function glibcOf(path: string, target: Target): string {
  const needed = [path, librarySource(ROOT, target)]
    .map((file) => lowestGlibc(Deno.readFileSync(file)));
  return needed.sort(compareReleases).at(-1)!;
}

/** Sets what `scripts/denort.ts` prints for a shell, `export NAME='VALUE'` a line. */
async function bringRuntime(): Promise<void> {
  if (Deno.env.has("DENORT_BIN")) return;
  const script = join(ROOT, "scripts/denort.ts");
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", script],
    stderr: "inherit",
  }).output();
  for (const [, name, value] of new TextDecoder().decode(stdout).matchAll(EXPORT)) {
    Deno.env.set(name, value);
  }
}

const EXPORT = /^export (\w+)='(.*)'$/gm;

/** The path of a binary: the one given, or compiled now. */
async function binaryFor(target: Target, variable: string): Promise<string> {
  const given = Deno.env.get(variable);
  if (given) return Deno.realPathSync(given);
  await bringRuntime();
  const compile = join(ROOT, "scripts/compile.ts");
  await run(Deno.execPath(), ["run", "-A", compile, "--target", target], { cwd: ROOT });
  return Deno.realPathSync(join(ROOT, "dist", binaryName(target, WHOLE)));
}

/** Median and fastest of some starts. */
function secondsOf(name: string, times: readonly number[]): Figures {
  return {
    [`${name}Seconds`]: rounded(median(times)),
    [`${name}FastestSeconds`]: rounded(Math.min(...times)),
  };
}

async function startFigures(
  binary: Binary,
  rounds: { readonly each: number; readonly first: number },
): Promise<Figures> {
  const { version, sentence, first } = await measureStarts(binary, rounds, SLOW);
  return {
    ...secondsOf("version", version),
    ...secondsOf("sentence", sentence),
    ...secondsOf("firstSentence", first),
  };
}

/** doctor, train, merge and run of the embedded model. */
async function operatorsWay(binary: Binary, cwd: string): Promise<void> {
  const graft = (...args: string[]) =>
    printed(binary, args, { cwd, env: { GRAFT_CACHE_DIR: join(cwd, "cache") } });
  await step("x64 doctor", undefined, async () => {
    const { version, can_run, findings } = JSON.parse(await graft("doctor", "--json"));
    return { version, canRun: can_run, findings: findings.length };
  }, CAN_RUN);
  const base = ["--model", "default", "--adapter-path", "adapter"];
  await step("x64 train", undefined, async () => {
    await graft("train", ...base, "--data=quickstart", "--epochs=1", "--learning-rate=3e-3");
    const losses = readMetrics(join(cwd, "adapter")).flatMap(({ loss }) => loss ?? []);
    return { losses: [losses[0], losses.at(-1)].map((loss) => rounded(loss!)) };
  });
  await step("x64 merge", undefined, async () => {
    await graft("merge", ...base, "--save-path", "merged", "--no-latency", "--force");
    const [{ size_ratio }] = JSON.parse(
      await Deno.readTextFile(join(cwd, "merged/certificate.json")),
    ).candidates;
    return { sizeRatio: size_ratio };
  });
  await step("x64 run", undefined, async () => {
    const times: number[] = [];
    let answer = "";
    for (let round = 0; round < 10; round++) {
      const start = performance.now();
      answer = await graft("run", "merged", SENTENCE);
      times.push((performance.now() - start) / 1000);
    }
    const [label, probability] = answer.trim().split("\t");
    const seconds = secondsOf("classified", times);
    return { sentence: SENTENCE, label, probability: Number(probability), ...seconds };
  }, CLASSIFIED_LIMITS);
}

/**
 * Installs the service of the embedded model, asks it, lets a round learn the quickstart's classes, asks
 * again, and takes it away.
 */
async function serviceFigures(cwd: string): Promise<Figures> {
  const config = join(cwd, "train.yaml");
  await Deno.writeTextFile(config, "epochs: 1\nlearning_rate: 0.003\n");
  await using systemd = await Systemd.boot();
  const graft = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await systemd.graft("service", ...args);
    if (code !== 0) throw new Error(`service ${args[0]}: ${stderr}\n${await systemd.log()}`);
    return stdout;
  };
  const start = performance.now();
  await graft(
    "install",
    ...["--model", "default", "--train-config", config],
    ...systemd.execFlags,
  );
  const installSeconds = rounded((performance.now() - start) / 1000);
  const { ActiveState: state, StatusText: status } = await systemd.show(UNIT);
  const { model, embedding } = JSON.parse(await graft("ask", SENTENCE));
  const exposures = await Promise.all([UNITS.service, UNITS.train].map(async (unit) => {
    const { stdout } = await systemd.run("systemd-analyze", "security", "--no-pager", unit);
    return Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
  }));
  const began = performance.now();
  await systemd.run("cp", join(ROOT, "models/quickstart/train.csv"), "/var/lib/graft/data/");
  await systemd.run("systemctl", "start", UNITS.train);
  const roundSeconds = rounded((performance.now() - began) / 1000);
  const steps = (await systemd.journal(UNITS.train)).flatMap(({ GRAFT_STEP }) => GRAFT_STEP ?? []);
  await until(
    "the service follows",
    async () => (await systemd.show(UNIT)).StatusText.includes("0001") || undefined,
  );
  const { model: modelAfterRound } = JSON.parse(await graft("ask", SENTENCE));
  await graft("uninstall", "--purge");
  const { LoadState: afterUninstall } = await systemd.show(UNIT);
  return {
    ...{ installSeconds, state, status, model, width: embedding.length },
    ...{ roundSeconds, round: steps.at(-1), modelAfterRound },
    ...{ exposures, largestExposure: Math.max(...exposures), afterUninstall },
  };
}

/** What the arm64 binary's doctor finds; its training, merge and run beside the x64 one's, on a tiny model. */
async function arm64Figures(x64: Binary, arm64: Binary, cwd: string): Promise<Figures> {
  const env = { GRAFT_CACHE_DIR: join(cwd, "cache") };
  const { can_run } = JSON.parse(await printed(arm64, ["doctor", "--json"], { cwd, env }));
  const [expected, found] = [
    await tinyWay(x64, join(cwd, "x64")),
    await tinyWay(arm64, join(cwd, "arm64")),
  ];
  const differences = expected.losses.map((loss, step) => Math.abs(loss - found.losses[step]));
  return {
    canRun: can_run,
    steps: found.losses.length,
    largestLossDifference: Math.max(...differences),
    sameAnswer: found.answer === expected.answer,
  };
}

const { name, threads } = processor();
// Times are those of a machine that does nothing else: what it had to do in the last minute.
const load = rounded(Deno.loadavg()[0]);
console.log(JSON.stringify({ step: "machine", name, threads, load }));
const x64 = native(await binaryFor("x64", "GRAFT_BINARY"));
const arm64Path = await binaryFor("arm64", "GRAFT_BINARY_ARM64");
const arm64 = emulated(arm64Path);
Deno.env.set("GRAFT_BINARY", x64.path); // what the systemd below starts

await step("sizes", undefined, () => ({
  x64Megabytes: megabytes(x64.path),
  arm64Megabytes: megabytes(arm64Path),
}));
await step("C library", undefined, () => ({
  x64Glibc: glibcOf(x64.path, "x64"),
  arm64Glibc: glibcOf(arm64Path, "arm64"),
}), GLIBC_LIMITS);
await step(
  "x64 starts",
  undefined,
  () => startFigures(x64, { each: 10, first: 3 }),
  START_LIMITS,
);
await inTempDir((cwd) => operatorsWay(x64, cwd));
await step("x64 service", systemdMissing(), () => inTempDir(serviceFigures), SERVICE_LIMITS);

const [emulator, noEmulator] = typeof arm64 === "string" ? [x64, arm64] : [arm64, undefined];
await step(
  "arm64 starts, emulated",
  noEmulator,
  () => startFigures(emulator, { each: 1, first: 1 }),
);
await step(
  "arm64 doctor, train, merge, run, emulated",
  noEmulator,
  () => inTempDir((cwd) => arm64Figures(x64, emulator, cwd)),
  ARM64_LIMITS,
);

// With a GPU, which this machine may lack, from the units as they would be written.
await step("exposure", toolMissing("systemd-analyze"), () =>
  inTempDir((folder) => {
    const units = unitExposures(folder).map(({ unit, gpu, exposure }) => ({ unit, gpu, exposure }));
    const withoutGpu = units.filter(({ gpu }) => !gpu).map(({ exposure }) => exposure);
    return Promise.resolve({ units, largestWithoutGpu: Math.max(...withoutGpu) });
  }), EXPOSURE_LIMITS);
