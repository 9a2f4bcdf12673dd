import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft, graftSignalled, graftStopped } from "../helpers/graft.ts";
import { pairs, readMetrics, sha256 } from "../helpers/training_runs.ts";
import { inTime } from "../helpers/in_time.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** So many that a signal at the tenth mostly still meets a run: a step takes a few milliseconds. */
const STEPS = 28;
const KILLED = 137;

/** Shuffled rows, dropout, several micro-batches a step, validation. */
function argsOf(path: string, steps = STEPS, saveEvery = 3): string[] {
  Deno.writeTextFileSync(join(path, "train.jsonl"), pairs(20));
  Deno.writeTextFileSync(join(path, "valid.jsonl"), pairs(4));
  return [
    "train",
    ...["--model", modelDir("tiny-llama-genai-int4"), "--data", path, "--threads=1"],
    ...[
      `--iters=${steps}`,
      `--save-every=${saveEvery}`,
      "--steps-per-report=1",
      "--steps-per-eval=20",
    ],
    ...["--batch-size=3", "--grad-accumulation-steps=2", "--learning-rate=1e-2"],
    ...["--lora-dropout=0.2", "--target-modules=all-linear", "--no-load-best"],
  ];
}

const weights = (adapter: string) => sha256(join(adapter, "adapter_model.safetensors"));

const figures = (adapter: string) =>
  readMetrics(adapter).map(({ step, loss, val_loss }) => [step, loss, val_loss]);

const lossesOf = (all: ReturnType<typeof figures>) => all.flatMap(([, loss]) => loss ?? []);

/** What a run that nothing stops gives. */
interface StraightRun {
  readonly stderr: string;
  readonly weights: string;
  readonly figures: ReturnType<typeof figures>;
}

let straightRun: Promise<StraightRun> | undefined;

/** One run, with which several tests compare theirs. */
function straight(): Promise<StraightRun> {
  return straightRun ??= inTempDir(async (path) => {
    const adapter = join(path, "straight");
    const { code, stderr } = await graft(...argsOf(path), "--adapter-path", adapter);
    assertEquals(code, 0, stderr);
    return { stderr, weights: await weights(adapter), figures: figures(adapter) };
  });
}

Deno.test("graft train, killed and interrupted and resumed, ends with the bytes of a straight run", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const whole = await straight();
      assertMatch(whole.stderr, /^Trainable parameters: [\d.]+% \([\d,]+ of [\d,]+\)\nTraining: /);
      const losses = lossesOf(whole.figures);
      assert(losses.at(-1)! < losses[0] - 0.5, `${losses}`);

      const broken = join(path, "broken");
      const run = [...argsOf(path), "--adapter-path", broken];
      const stops: [when: RegExp, signal: Deno.Signal, code: number][] = [
        [/step 5\//, "SIGKILL", KILLED],
        [/step 6: saved|step 7\//, "SIGKILL", KILLED],
        [/step 10\//, "SIGINT", 130],
      ];
      let told = "";
      for (const [i, [when, signal, code]] of stops.entries()) {
        const resume = i === 0 ? [] : ["--resume"];
        const stopped = await graftSignalled(when, signal, ...run, ...resume);
        assertEquals(stopped.code, code, stopped.stderr);
        told = stopped.stderr;
      }
      const [, goesOn] = /To go on: graft (.*)/.exec(told)!;
      const last = await graft(...goesOn.split(" "));
      assertEquals(last.code, 0, last.stderr);
      assertStringIncludes(last.stderr, "Resuming from");
      assertEquals(await weights(broken), whole.weights);
      assertEquals(figures(broken), whole.figures);

      // Shuffling and dropout are on: another seed is another run.
      const other = join(path, "other");
      const seeded = await graft(...argsOf(path, 3), "--seed=1", "--adapter-path", other);
      assertEquals(seeded.code, 0, seeded.stderr);
      assert(lossesOf(figures(other))[0] !== losses[0], `${losses}`);
    })
  ));

Deno.test("graft train --resume takes its run's settings, and tells those that are given anew", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const broken = join(path, "broken");
      const stopped = await graftStopped(/step 5\//, ...argsOf(path), "--adapter-path", broken);
      assertEquals(stopped.code, 130, stopped.stderr);
      const resumed = await graft("train", "--resume", "--adapter-path", broken);
      assertEquals(resumed.code, 0, resumed.stderr);
      assert(!resumed.stderr.includes("other settings"), resumed.stderr);
      assertEquals(await weights(broken), (await straight()).weights);

      const further = ["--resume", "--epochs=8", "--learning-rate=0.001"];
      const on = await graft("train", "--adapter-path", broken, ...further);
      assertEquals(on.code, 0, on.stderr);
      assertStringIncludes(
        on.stderr,
        "Going on with other settings than the run had: --learning-rate 0.001 (was 0.01), " +
          `--epochs 8 (was not given), --iters not given (was ${STEPS})\n`,
      );
      const elsewhere = await graft("train", "--resume", "--adapter-path", join(path, "nowhere"));
      assertEquals(elsewhere.code, 2, elsewhere.stderr);
      assertStringIncludes(
        elsewhere.stderr,
        "nowhere has no whole checkpoint (--adapter-path names",
      );
    })
  ));

Deno.test("graft train --resume keeps as much as the run did that it goes on with, whatever is free", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const [recomputing, resumed] = ["recomputing", "resumed"].map((name) => join(path, name));
      const args = [...argsOf(path), "--grad-checkpoint"];
      const whole = await graft(...args, "--adapter-path", recomputing);
      assertEquals(whole.code, 0, whole.stderr);
      const keeping = (await straight()).weights;
      assert(keeping !== await weights(recomputing), "what is kept shows nowhere");
      const run = ["--adapter-path", resumed];
      const stopped = await graftStopped(/step 5\//, ...args, ...run);
      assertEquals(stopped.code, 130, stopped.stderr);
      const last = await graft(...argsOf(path), ...run, "--resume");
      assertEquals(last.code, 0, last.stderr);
      assertEquals(await weights(resumed), await weights(recomputing));
    })
  ));

Deno.test("graft train, killed before its first checkpoint, starts anew when it is told to", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const steps = 20;
      const args = [...argsOf(path, steps, steps + 1), "--adapter-path", join(path, "adapter")];
      const killed = await graftSignalled(/step 1\//, "SIGKILL", ...args);
      assertEquals(killed.code, KILLED, killed.stderr);
      const resumed = await graft(...args, "--resume");
      assertEquals(resumed.code, 2, resumed.stderr);
      assertStringIncludes(resumed.stderr, "has no whole checkpoint");
      const again = await graft(...args);
      assertEquals(again.code, 0, again.stderr);
      assertEquals(readMetrics(join(path, "adapter")).filter(({ loss }) => loss).length, steps);
      const ended = await graft(...args, "--resume");
      assertEquals(ended.code, 0, ended.stderr);
      assertStringIncludes(ended.stderr, "no step is left to train");
    })
  ));
