/**
 * The way of an operator on the compiled binaries, from a clean clone on x64: `deno task edge`.
 *
 * Compiles both, or takes the files that `GRAFT_BINARY` and `GRAFT_BINARY_ARM64` name. Where Deno's
 * downloads cannot be reached, `eval "$(deno run -A scripts/denort.ts)"` comes first. Prints a line
 * of JSON for each step as it ends: sizes and start times; doctor, train, merge, run; the service
 * under a real systemd; the arm64 binary under qemu; the units' exposure. What the machine lacks for
 * a step is said as `skipped`. Ends with 1 where a step failed.
 */
import { fromFileUrl, join } from "@std/path";
import { median } from "../../src/statistics.ts";
import { processor } from "../../src/system/processor.ts";
import { type Binary, emulated, native, printed } from "../../tests/helpers/binary.ts";
import { toolMissing } from "../../tests/helpers/requirements.ts";
import { Systemd, systemdMissing } from "../../tests/helpers/systemd.ts";
import { SLOW, tinyWay } from "../../tests/helpers/tiny_way.ts";
import { inTempDir, readMetrics } from "../../tests/helpers/training_runs.ts";
import { unitExposures } from "../../tests/helpers/unit_exposure.ts";
import { binaryName } from "../compile.ts";
import type { Target } from "../compile/elf.ts";
import { run } from "../compile/run.ts";
import { measureStarts } from "./starts.ts";

const ROOT = fromFileUrl(new URL("../..", import.meta.url));
const SENTENCE = "turn on the light";
const UNIT = "graft.service";
/** What a binary brings; both are compiled whole. */
const WHOLE = { library: true, model: true };

type Figures = Readonly<Record<string, unknown>>;

/** Prints what a step gave; one that fails does not keep the next from being seen. */
async function step(
  name: string,
  missing: string | undefined,
  body: () => Figures | Promise<Figures>,
): Promise<void> {
  const print = (figures: Figures) => console.log(JSON.stringify({ step: name, ...figures }));
  if (missing !== undefined) return print({ skipped: missing });
  const start = performance.now();
  try {
    const figures = await body();
    print({ ...figures, seconds: rounded((performance.now() - start) / 1000) });
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

/** The path of a binary: the one given, or compiled now. */
async function binaryFor(target: Target, variable: string): Promise<string> {
  const given = Deno.env.get(variable);
  if (given) return Deno.realPathSync(given);
  const compile = join(ROOT, "scripts/compile.ts");
  await run(Deno.execPath(), ["run", "-A", compile, "--target", target], { cwd: ROOT });
  return Deno.realPathSync(join(ROOT, "dist", binaryName(target, WHOLE)));
}

async function startFigures(
  binary: Binary,
  rounds: { readonly each: number; readonly first: number },
): Promise<Figures> {
  const { version, sentence, first } = await measureStarts(binary, rounds, SLOW);
  return {
    versionSeconds: rounded(median(version)),
    sentenceSeconds: rounded(median(sentence)),
    firstSentenceSeconds: rounded(median(first)),
  };
}

/** doctor, train, merge and run of the embedded model. */
async function operatorsWay(binary: Binary, cwd: string): Promise<void> {
  const graft = (...args: string[]) =>
    printed(binary, args, { cwd, env: { GRAFT_CACHE_DIR: join(cwd, "cache") } });
  await step("x64 doctor", undefined, async () => {
    const { version, can_run, findings } = JSON.parse(await graft("doctor", "--json"));
    return { version, canRun: can_run, findings: findings.length };
  });
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
    const [label, probability] = (await graft("run", "merged", SENTENCE)).trim().split("\t");
    return { sentence: SENTENCE, label, probability: Number(probability) };
  });
}

/** Installs the service of the embedded model, asks it, and takes it away again. */
async function serviceFigures(): Promise<Figures> {
  await using systemd = await Systemd.boot();
  const graft = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await systemd.graft("service", ...args);
    if (code !== 0) throw new Error(`service ${args[0]}: ${stderr}\n${await systemd.log()}`);
    return stdout;
  };
  const start = performance.now();
  await graft("install", "--model", "default", ...systemd.execFlags);
  const installSeconds = rounded((performance.now() - start) / 1000);
  const { ActiveState: state, StatusText: status } = await systemd.show(UNIT);
  const { model, embedding } = JSON.parse(await graft("ask", SENTENCE));
  await graft("uninstall", "--purge");
  const { LoadState: afterUninstall } = await systemd.show(UNIT);
  return { installSeconds, state, status, model, width: embedding.length, afterUninstall };
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
console.log(JSON.stringify({ step: "machine", name, threads }));
const x64 = native(await binaryFor("x64", "GRAFT_BINARY"));
const arm64Path = await binaryFor("arm64", "GRAFT_BINARY_ARM64");
const arm64 = emulated(arm64Path);
Deno.env.set("GRAFT_BINARY", x64.path); // what the systemd below starts

await step("sizes", undefined, () => ({
  x64Megabytes: megabytes(x64.path),
  arm64Megabytes: megabytes(arm64Path),
}));
await step("x64 starts", undefined, () => startFigures(x64, { each: 10, first: 3 }));
await inTempDir((cwd) => operatorsWay(x64, cwd));
await step("x64 service", systemdMissing(), serviceFigures);

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
);

await step("exposure", toolMissing("systemd-analyze"), () =>
  inTempDir((folder) => ({
    units: unitExposures(folder).map(({ unit, gpu, exposure }) => ({ unit, gpu, exposure })),
  })));
