import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import type { Terminal } from "../../src/cli/terminal/output.ts";
import { runTrainer } from "../../src/cli/train/run_trainer.ts";
import { trainingNotes } from "../../src/cli/train/training_notes.ts";
import { resolveParameters } from "../../src/config/resolve.ts";
import { UsageError } from "../../src/errors.ts";
import { FINE_TUNE_PARAMETERS, type FineTuneConfig } from "../../src/finetune/mod.ts";
import { runTraining } from "../../src/finetune/run_training.ts";
import type { TrainingParts } from "../../src/finetune/training_parts.ts";
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
): TrainingParts<Rows> & { saved: Map<string, Tensor>[] } {
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

const configFor = (adapterPath: string, more: Partial<FineTuneConfig> = {}) =>
  resolveParameters(FINE_TUNE_PARAMETERS, {
    model: "m",
    data: "d",
    adapterPath,
    iters: 20,
    learningRate: 0.2,
    ...more,
  }) as unknown as FineTuneConfig;

/** Runs as `graft train` does. */
function graftTrain(parts: TrainingParts<Rows>, config: FineTuneConfig, terminal: Terminal) {
  const onEvent = trainingNotes(config, terminal);
  return runTrainer(
    { run: ({ signal }) => runTraining(parts, config, { signal, onEvent }) },
    terminal,
  );
}

const metricsOf = (path: string) =>
  Deno.readTextFileSync(join(path, "metrics.jsonl")).trim().split("\n").map((l) => JSON.parse(l));

Deno.test("runTraining() saves configuration, metrics and adapter", () =>
  inTempDir(async (path) => {
    const [setup, terminal] = [makeSetup(), recorder()];
    assertEquals(await graftTrain(setup, configFor(path, { test: true }), terminal), 0);
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
    await graftTrain(makeSetup(), configFor(path), recorder());
    await assertRejects(
      () => graftTrain(makeSetup(), configFor(path), recorder()),
      UsageError,
      "has checkpoints of an earlier run: resume: true goes on with it",
    );
    assertEquals(
      await graftTrain(makeSetup(), configFor(path, { overwrite: true }), recorder()),
      0,
    );
  }));

Deno.test("runTraining() resumed further ends as a run that was never stopped", () =>
  inTempDir(async (path) => {
    const schedule = { lrSchedule: "constant", saveEvery: 7, loadBest: false } as const;
    const straight = makeSetup();
    await graftTrain(straight, configFor(join(path, "a"), { ...schedule, iters: 30 }), recorder());
    await graftTrain(
      makeSetup(),
      configFor(join(path, "b"), { ...schedule, iters: 12 }),
      recorder(),
    );
    const resumed = makeSetup();
    const terminal = recorder();
    const config = configFor(join(path, "b"), { ...schedule, iters: 30, resume: true });
    await graftTrain(resumed, config, terminal);
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
    await graftTrain(makeSetup(), configFor(path), recorder());
    const more = { resume: true, batchSize: 8 };
    await assertRejects(
      () => graftTrain(makeSetup(), configFor(path, more), recorder()),
      UsageError,
      "batchSize was 4: current value is 8",
    );
    const other = { ...makeSetup(), identity: { data_digest: "e" } };
    await assertRejects(
      () => graftTrain(other, configFor(path, { resume: true }), recorder()),
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
    assertEquals(await graftTrain(setup, configFor(path), terminal), 1);
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
    assertEquals(await graftTrain(setup, configFor(path), terminal), 130);
    assertStringIncludes(terminal.text(), "Stopped after step 5");
    assertStringIncludes(terminal.text(), `graft train --resume --adapter-path ${path}`);
    assert(Deno.statSync(join(path, "checkpoints/step-000005/manifest.json")).isFile);
    assertEquals(setup.saved.length, 1);
  }));

Deno.test("runTraining() refuses epochs beside iters", () =>
  inTempDir(async (path) => {
    await assertRejects(
      () => graftTrain(makeSetup(), configFor(path, { epochs: 2 }), recorder()),
      UsageError,
      "not both",
    );
  }));

Deno.test("runTraining() with train: false only evaluates", () =>
  inTempDir(async (path) => {
    const terminal = recorder();
    const setup = makeSetup();
    await graftTrain(setup, configFor(path, { train: false, test: true }), terminal);
    assertStringIncludes(terminal.text(), "Test loss ");
    assertEquals([...Deno.readDirSync(path)].length, 0);
    assertEquals(setup.saved.length, 0);
  }));
