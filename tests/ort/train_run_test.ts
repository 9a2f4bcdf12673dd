import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { resolveValues } from "../../src/cli/config.ts";
import type { Terminal } from "../../src/cli/output.ts";
import { runTraining, type TrainSetup } from "../../src/cli/run_training.ts";
import { TRAIN_FLAGS, type TrainFlags } from "../../src/cli/train_flags.ts";
import { UsageError } from "../../src/errors.ts";
import { type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import { HostAdamW, LeastSquares, planeData, type Rows } from "../helpers/host_training.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

function recorder(): Terminal & { text(): string } {
  const lines: string[] = [];
  const add = (line: string) => void lines.push(line);
  return {
    text: () => lines.join("\n"),
    print: add,
    write: add,
    note: add,
    status: add,
    interactive: false,
    color: false,
    columns: 80,
  };
}

function makeSetup(
  model = new LeastSquares(),
): TrainSetup<Rows> & { saved: Map<string, Tensor>[] } {
  const saved: Map<string, Tensor>[] = [];
  return {
    model,
    optimizer: new HostAdamW(model.parameters),
    data: planeData(40, 4),
    validation: planeData(8, 4, 2),
    test: planeData(8, 4, 3),
    identity: { data_digest: "d" },
    saved,
    saveAdapter: (_directory, parameters) => void saved.push(new Map(parameters)),
    [Symbol.dispose]() {},
  };
}

const flagsFor = (adapterPath: string, more: Partial<TrainFlags> = {}) =>
  resolveValues(TRAIN_FLAGS, {
    model: "m",
    data: "d",
    adapterPath,
    iters: 20,
    learningRate: 0.2,
    ...more,
  }).values as unknown as TrainFlags;

const metricsOf = (path: string) =>
  Deno.readTextFileSync(join(path, "metrics.jsonl")).trim().split("\n").map((l) => JSON.parse(l));

Deno.test("runTraining() saves configuration, metrics and adapter", () =>
  inTempDir(async (path) => {
    const [setup, terminal] = [makeSetup(), recorder()];
    assertEquals(await runTraining(setup, flagsFor(path, { test: true }), terminal), 0);
    const text = terminal.text();
    assertStringIncludes(text, `Saved the adapter in ${path}`);
    assertStringIncludes(text, "Test loss ");
    assertEquals(setup.saved.length, 1);
    assertStringIncludes(Deno.readTextFileSync(join(path, "graft_config.yaml")), "iters: 20");
    const metrics = metricsOf(path);
    assertEquals(metrics.map((m) => m.step), [0, 10, 20, 20]);
    assertEquals(Object.keys(metrics[1]).sort(), [
      "epoch",
      "grad_norm",
      "learning_rate",
      "loss",
      "peak_memory_mb",
      "seconds",
      "step",
      "tokens_per_second",
    ]);
    assertEquals(Object.keys(metrics[0]).sort(), ["seconds", "step", "val_loss"]);
  }));

Deno.test("runTraining() refuses to write over another run's checkpoints unless told to", () =>
  inTempDir(async (path) => {
    await runTraining(makeSetup(), flagsFor(path), recorder());
    await assertRejects(
      () => runTraining(makeSetup(), flagsFor(path), recorder()),
      UsageError,
      "has checkpoints of an earlier run: --resume",
    );
    assertEquals(
      await runTraining(makeSetup(), flagsFor(path, { overwrite: true }), recorder()),
      0,
    );
  }));

Deno.test("runTraining() resumed further ends as a run that was never stopped", () =>
  inTempDir(async (path) => {
    const schedule = { lrSchedule: "constant", saveEvery: 7, loadBest: false } as const;
    const straight = makeSetup();
    await runTraining(straight, flagsFor(join(path, "a"), { ...schedule, iters: 30 }), recorder());
    await runTraining(
      makeSetup(),
      flagsFor(join(path, "b"), { ...schedule, iters: 12 }),
      recorder(),
    );
    const resumed = makeSetup();
    const terminal = recorder();
    const flags = flagsFor(join(path, "b"), { ...schedule, iters: 30, resume: true });
    await runTraining(resumed, flags, terminal);
    assertStringIncludes(terminal.text(), "Resuming from");
    const plain = (setup: typeof resumed) =>
      [...setup.saved[0]].map(([name, tensor]) => [name, [...toNumbers(tensor)]]);
    assertEquals(plain(resumed), plain(straight));
    assertEquals(metricsOf(join(path, "b")).filter((m) => "loss" in m).map((m) => m.step), [
      10,
      12,
      20,
      30,
    ]);
  }));

Deno.test("runTraining() refuses to resume with other settings or other data", () =>
  inTempDir(async (path) => {
    await runTraining(makeSetup(), flagsFor(path), recorder());
    const more = { resume: true, batchSize: 8 };
    await assertRejects(
      () => runTraining(makeSetup(), flagsFor(path, more), recorder()),
      UsageError,
      "--batch-size was 4: current value is 8",
    );
    const other = { ...makeSetup(), identity: { data_digest: "e" } };
    await assertRejects(
      () => runTraining(other, flagsFor(path, { resume: true }), recorder()),
      UsageError,
      "data_digest was d: current value is e",
    );
  }));

Deno.test("runTraining() ends a diverged run with code 1, the last good adapter and a clear word", () =>
  inTempDir(async (path) => {
    const model = new LeastSquares();
    const accumulate = model.accumulate.bind(model);
    let calls = 0;
    model.accumulate = async (batch, seed) => {
      const loss = await accumulate(batch, seed);
      return ++calls > 5 ? { ...loss, lossSum: NaN } : loss;
    };
    const [setup, terminal] = [makeSetup(model), recorder()];
    assertEquals(await runTraining(setup, flagsFor(path), terminal), 1);
    assertStringIncludes(terminal.text(), "step 6 was skipped: its loss is NaN");
    assertStringIncludes(terminal.text(), "its loss is NaN.");
    assertStringIncludes(
      terminal.text(),
      "has the adapter of step 4, the last before its numbers went bad",
    );
    for (const tensor of setup.saved[0].values()) {
      for (const value of toNumbers(tensor)) assert(Number.isFinite(value));
    }
  }));

Deno.test("runTraining() stopped by SIGTERM saves, says how to resume, and ends with 130", () =>
  inTempDir(async (path) => {
    const model = new LeastSquares();
    const accumulate = model.accumulate.bind(model);
    let calls = 0;
    model.accumulate = async (batch, seed) => {
      if (++calls === 5) {
        Deno.kill(Deno.pid, "SIGTERM");
        await new Promise((resolve) => setTimeout(resolve, 100)); // the signal arrives as an event
      }
      return accumulate(batch, seed);
    };
    const [setup, terminal] = [makeSetup(model), recorder()];
    assertEquals(await runTraining(setup, flagsFor(path), terminal), 130);
    assertStringIncludes(terminal.text(), "Stopped after step 5");
    assertStringIncludes(terminal.text(), `graft train --resume --adapter-path ${path}`);
    assert(Deno.statSync(join(path, "checkpoints/step-000005/manifest.json")).isFile);
    assertEquals(setup.saved.length, 1);
  }));

Deno.test("runTraining() refuses --epochs beside --iters", () =>
  inTempDir(async (path) => {
    await assertRejects(
      () => runTraining(makeSetup(), flagsFor(path, { epochs: 2 }), recorder()),
      UsageError,
      "not both",
    );
  }));

Deno.test("runTraining() with --no-train only evaluates", () =>
  inTempDir(async (path) => {
    const terminal = recorder();
    const setup = makeSetup();
    await runTraining(setup, flagsFor(path, { train: false, test: true }), terminal);
    assertStringIncludes(terminal.text(), "Test loss ");
    assertEquals([...Deno.readDirSync(path)].length, 0);
    assertEquals(setup.saved.length, 0);
  }));
