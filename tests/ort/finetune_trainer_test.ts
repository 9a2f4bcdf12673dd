import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { ParameterError, RefusedError, UsageError } from "../../src/errors.ts";
import {
  fineTune,
  type FineTuneEvent,
  type FineTuneInput,
  resumedConfig,
  Trainer,
} from "../../src/finetune/mod.ts";
import { digestIn, trainTo } from "../helpers/interrupted_training.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs, tinyTraining } from "../helpers/training_runs.ts";

/** A short training of a tiny model into a folder, with rows to test on. */
function tiny(folder: string, more: Partial<FineTuneInput> = {}): FineTuneInput {
  Deno.writeTextFileSync(join(folder, "test.jsonl"), pairs(2));
  return tinyTraining(folder, 2, {
    ...{ rank: 2, numLayers: 1, iters: 4, lrSchedule: "constant" },
    ...{ stepsPerReport: 2, saveEvery: 2 },
    ...more,
  });
}

/** The kinds of events in their order, each once where it comes several times in a row. */
const kindsOf = (events: readonly FineTuneEvent[]) =>
  events.map(({ kind }) => kind).filter((kind, i, all) => kind !== all[i - 1]);

Deno.test("fineTune() trains and tests an adapter, and reports what it does in typed events", () =>
  inTempDir(async (folder) => {
    const events: FineTuneEvent[] = [];
    const { training, test, adapterPath } = await fineTune(
      tiny(folder, { test: true }),
      { onEvent: (event) => void events.push(event) },
    );
    assertEquals([training?.end, training?.step], ["finished", 4]);
    assertEquals(adapterPath, join(folder, "adapter"));
    assert(Deno.statSync(join(adapterPath, "adapter_config.json")).isFile);
    assertEquals(kindsOf(events), [
      ...["parameters", "encoded", "memory", "forward differs", "started"],
      ...["prefix cache opened", "evaluated", "step", "report"],
      ...["checkpoint", "step", "report", "evaluated", "checkpoint", "saved", "tested"],
    ]);
    const found = <Kind extends FineTuneEvent["kind"]>(kind: Kind) =>
      events.filter((event) => event.kind === kind) as (FineTuneEvent & { kind: Kind })[];
    assertEquals(found("encoded").map(({ part, report }) => [part, report.rows]), [
      ["training", 6],
      ["validation", 2],
      ["test", 2],
    ]);
    assertEquals(found("started").map(({ totalSteps, firstStep }) => [totalSteps, firstStep]), [
      [4, 0],
    ]);
    assertEquals(found("step").map(({ step }) => step), [1, 2, 3, 4]);
    assertEquals(found("report").map(({ report }) => report.step), [2, 4]);
    assertEquals(found("tested")[0].metrics, test);
    assert(test!.loss > 0);
  }));

Deno.test("fineTune() with a signal saves and ends in order, and resumed ends as a straight run", () =>
  inTempDir((straight) =>
    inTempDir(async (folder) => {
      await fineTune(tiny(straight));
      const interrupted = await trainTo(3, tiny(folder));
      assertEquals([interrupted.training?.end, interrupted.training?.step], ["interrupted", 3]);
      const events: FineTuneEvent[] = [];
      const { training } = await fineTune(
        resumedConfig(join(folder, "adapter"), { stepsPerReport: 1 }),
        { onEvent: (event) => void events.push(event) },
      );
      assertEquals([training?.end, training?.step], ["finished", 4]);
      const resumed = events.find(({ kind }) => kind === "resumed");
      assertEquals(resumed, {
        kind: "resumed",
        path: join(folder, "adapter", "checkpoints", "step-000003"),
        changed: [],
      });
      assertEquals(await digestIn(folder), await digestIn(straight));
    })
  ));

Deno.test("fineTune() resumed reports the settings that the rest of the run has otherwise", () =>
  inTempDir(async (folder) => {
    await fineTune(tiny(folder));
    const events: FineTuneEvent[] = [];
    const changes = { iters: 5, learningRate: 1e-3 };
    await fineTune(
      resumedConfig(join(folder, "adapter"), changes),
      { onEvent: (event) => void events.push(event) },
    );
    const resumed = events.find((event) => event.kind === "resumed");
    assertEquals(resumed?.kind === "resumed" && resumed.changed, [
      { parameter: "learningRate", now: 1e-3, before: 2e-4 },
      { parameter: "iters", now: 5, before: 4 },
    ]);
  }));

Deno.test("fineTune() with a signal that has fired rejects with its reason and writes nothing", () =>
  inTempDir(async (folder) => {
    const reason = new Error("not now");
    const error = await assertRejects(() =>
      fineTune(tiny(folder), { signal: AbortSignal.abort(reason) })
    );
    assertEquals(error, reason);
    assertEquals([...Deno.readDirSync(folder)].filter(({ isDirectory }) => isDirectory), []);
  }));

Deno.test("Trainer.open() stops between the steps of its preparation where the signal fires", () =>
  inTempDir(async (folder) => {
    const stop = new AbortController();
    const events: FineTuneEvent[] = [];
    await assertRejects(() =>
      Trainer.open(tiny(folder), {
        signal: stop.signal,
        onEvent: (event) => {
          events.push(event);
          if (event.kind === "parameters") stop.abort();
        },
      })
    );
    assert(!events.some(({ kind }) => kind === "memory"));
  }));

Deno.test("Trainer.open() names the folder of a run that it would write over, and of none to resume", () =>
  inTempDir(async (folder) => {
    const none = await assertRejects(
      () => Trainer.open(tiny(folder, { resume: true })),
      ParameterError,
      "has no whole checkpoint",
    );
    assertEquals(none.parameter, "adapterPath");
    await fineTune(tiny(folder, { iters: 2 }));
    const other = await assertRejects(
      () => Trainer.open(tiny(folder)),
      ParameterError,
      "overwrite: true drops them",
    );
    assertEquals(other.parameter, "adapterPath");
  }));

Deno.test("Trainer.open() names the parameter that the model or the machine has nothing for", () =>
  inTempDir(async (folder) => {
    const parameterOf = async (more: Partial<FineTuneInput>) =>
      (await assertRejects(() => Trainer.open(tiny(folder, more)), ParameterError)).parameter;
    assertEquals(await parameterOf({ targetModules: ["nothing"] }), "targetModules");
    assertEquals(await parameterOf({ modulesToSave: ["nothing"] }), "modulesToSave");
    assertEquals(await parameterOf({ rankPattern: { nothing: 3 } }), "rankPattern");
    assertEquals(await parameterOf({ layers: "70" }), "layers");
    assertEquals(
      await parameterOf({ adapterType: ["scales"], loraDropout: 0.1 }),
      "loraDropout",
    );
    await assertRejects(
      () => Trainer.open(tiny(folder, { ep: ["auto", "cpu"] })),
      UsageError,
      "ep",
    );
  }));

Deno.test("Trainer.open() refuses a run that its memory budget has no room for, with what would fit", () =>
  inTempDir(async (folder) => {
    const error = await assertRejects(
      () => Trainer.open(tiny(folder, { memoryBudget: "1M" })),
      RefusedError,
      "memoryBudget: 1M",
    );
    assert(error.message.startsWith("Cannot train in 1 MB of memory"));
  }));

Deno.test("Trainer.run() names the parameter whose data is not there", () =>
  inTempDir(async (folder) => {
    const input = tiny(folder, { test: true });
    Deno.removeSync(join(folder, "test.jsonl"));
    using trainer = await Trainer.open(input);
    const error = await assertRejects(() => trainer.run(), ParameterError, "needs a test file");
    assertEquals(error.parameter, "test");
    assertEquals((await trainer.run({ test: false })).training?.end, "finished");
  }));
