import { assert, assertEquals, assertThrows } from "@std/assert";
import { dirname, join } from "@std/path";
import { BusyError, UsageError } from "../../src/errors.ts";
import { type CycleData, type JobSteps, runJob, type StepEnd } from "../../src/service/job.ts";
import type { Score } from "../../src/service/records.ts";
import { ServiceState } from "../../src/service/state.ts";
import { readEarlier, readInUse } from "../../src/service/state_files.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const OPTIONS = { margin: 0.1, keep: 2, attempts: 2 };
const done = { ended: "done", value: undefined } as const;
const silent = () => {};

/** Steps that leave small files in the place of models; `data` is what the data folder holds. */
class FakeSteps implements JobSteps {
  readonly calls: string[] = [];

  constructor(readonly data: string, readonly loss: number, readonly lossInUse = 1) {}

  snapshot(cycle: string): Promise<CycleData> {
    this.calls.push("snapshot");
    write(join(cycle, "data/train.jsonl"), this.data);
    return Promise.resolve({ digest: this.data, rows: 1, heldOut: 1, guessLoss: 2, forgotten: 0 });
  }

  train(cycle: string): Promise<StepEnd> {
    this.calls.push("train");
    write(join(cycle, "adapter/adapter"), this.data);
    return Promise.resolve(done);
  }

  merge(cycle: string): Promise<StepEnd> {
    this.calls.push("merge");
    assertEquals(Deno.readTextFileSync(join(cycle, "adapter/adapter")), this.data);
    write(join(cycle, "model/model.onnx"), `merged from ${this.data}`);
    return Promise.resolve(done);
  }

  evaluate(_cycle: string, model: "candidate" | string | null): Promise<StepEnd<Score>> {
    this.calls.push(
      `evaluate ${model === "candidate" ? model : model === null ? "base" : "in use"}`,
    );
    const loss = model === "candidate" ? this.loss : this.lossInUse;
    return Promise.resolve({ ended: "done", value: { loss } });
  }
}

function write(path: string, text: string): void {
  Deno.mkdirSync(dirname(path), { recursive: true });
  Deno.writeTextFileSync(path, text);
}

async function job(folder: string, steps: JobSteps, options = OPTIONS) {
  using state = ServiceState.open(folder);
  return await runJob(state, steps, options, silent);
}

/** What a reader finds in use; throws where it is no whole model. */
function modelInUse(folder: string): string {
  const { path } = readInUse(folder);
  return path === undefined ? "base" : Deno.readTextFileSync(join(path, "model.onnx"));
}

const names = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

Deno.test("runJob() promotes what is better by the margin, and keeps the last models", () =>
  inTempDir(async (folder) => {
    const steps = new FakeSteps("first", 0.5);
    assertEquals((await job(folder, steps)).outcome, "promoted");
    assertEquals(steps.calls, [
      "snapshot",
      "train",
      "merge",
      "evaluate candidate",
      "evaluate base",
    ]);
    assertEquals(modelInUse(folder), "merged from first");
    for (const data of ["second", "third"]) await job(folder, new FakeSteps(data, 0.5));
    assertEquals(modelInUse(folder), "merged from third");
    assertEquals(names(join(folder, "models")), ["0002", "0003"]);
    assertEquals(names(join(folder, "cycles")), []);
    assertEquals(names(join(folder, "models/0003")), ["adapter", "model"]);
  }));

Deno.test("runJob() rejects what is not better by the margin, and does not try the same data again", () =>
  inTempDir(async (folder) => {
    const result = await job(folder, new FakeSteps("first", 0.95));
    assertEquals(result.outcome, "rejected");
    assertEquals(modelInUse(folder), "base");
    const again = new FakeSteps("first", 0.5);
    assertEquals((await job(folder, again)).outcome, "nothing new");
    assertEquals(again.calls, ["snapshot"]);
    assertEquals(names(join(folder, "cycles")), []);
    // A loss that is no number is never better.
    assertEquals((await job(folder, new FakeSteps("second", NaN))).outcome, "rejected");
  }));

Deno.test("runJob() goes on after a step that was killed, and gives up where it always is", () =>
  inTempDir(async (folder) => {
    class Killed extends FakeSteps {
      constructor(data: string, public kills: number) {
        super(data, 0.5);
      }
      override train(cycle: string): Promise<StepEnd> {
        if (this.kills-- > 0) {
          return Promise.resolve({ ended: "killed", why: "it was killed by SIGKILL" });
        }
        return super.train(cycle);
      }
    }
    assertEquals((await job(folder, new Killed("first", 1))).outcome, "promoted");
    const failed = await job(folder, new Killed("second", 2));
    assertEquals(failed.outcome, "failed");
    assertEquals(modelInUse(folder), "merged from first");
    // A failure is no verdict on the data: the next job tries it again.
    assertEquals((await job(folder, new Killed("second", 0))).outcome, "promoted");
  }));

Deno.test("runJob() measures against guessing where the model in use cannot be scored", () =>
  inTempDir(async (folder) => {
    class Headless extends FakeSteps {
      override evaluate(cycle: string, model: "candidate" | string | null) {
        if (model !== null) return super.evaluate(cycle, model);
        return Promise.resolve({ ended: "failed", why: "it has no classes", code: 2 } as const);
      }
    }
    assertEquals((await job(folder, new Headless("first", 1.9))).outcome, "rejected");
    assertEquals((await job(folder, new Headless("second", 1.7))).outcome, "promoted");
  }));

Deno.test("runJob() measures against an earlier model, or the base, where the one in use is damaged", () =>
  inTempDir(async (folder) => {
    const records = () => {
      using state = ServiceState.open(folder);
      return state.records;
    };
    /** Whose models are damaged, and how good the others are. */
    class Damaged extends FakeSteps {
      constructor(data: string, loss: number, readonly damaged: RegExp, readonly classes: boolean) {
        super(data, loss);
      }
      override async snapshot(cycle: string) {
        const { guessLoss, ...snapshot } = await super.snapshot(cycle);
        return { ...snapshot, ...this.classes ? { guessLoss } : {} };
      }
      override evaluate(cycle: string, model: "candidate" | string | null) {
        const score = super.evaluate(cycle, model);
        if (typeof model !== "string" || !this.damaged.test(model)) return score;
        return Promise.resolve({ ended: "failed", why: "it is cut", code: 65 } as const);
      }
    }
    for (const data of ["first", "second"]) await job(folder, new FakeSteps(data, 0.5));
    const instead = () => {
      const { inUse } = records().findLast((record) => record.step === "evaluated")!;
      return [inUse.instead?.model, inUse.instead?.why, inUse.guessed];
    };
    // No better than the earlier one.
    assertEquals((await job(folder, new Damaged("3", 0.95, /0002/, true))).outcome, "rejected");
    assertEquals(instead(), ["0001", "it is cut", undefined]);
    assertEquals(modelInUse(folder), "merged from second");
    assertEquals((await job(folder, new Damaged("4", 0.5, /0002/, true))).outcome, "promoted");
    assertEquals(modelInUse(folder), "merged from 4");
    assertEquals((await job(folder, new Damaged("5", 0.95, /0/, false))).outcome, "rejected");
    assertEquals(instead(), [null, "it is cut", undefined]);
    assertEquals((await job(folder, new Damaged("6", 1.9, /0/, true))).outcome, "rejected");
    assertEquals(instead(), [undefined, undefined, "it is cut"]);
    // A fault of the machine says nothing about a model.
    class Full extends FakeSteps {
      override evaluate(cycle: string, model: "candidate" | string | null) {
        if (model === "candidate") return super.evaluate(cycle, model);
        return Promise.resolve({ ended: "failed", why: "I/O error", code: 74 } as const);
      }
    }
    assertEquals((await job(folder, new Full("7", 0.1))).outcome, "failed");
  }));

class Crash extends Error {}

/** Counts every moment before and after something that lasts, and ends the process at one of them. */
class Moments {
  passed = 0;

  constructor(readonly crashAt: number) {}

  pass(): void {
    if (this.passed++ === this.crashAt) throw new Crash();
  }

  /** Wraps methods of an object; what they return is returned. */
  // deno-lint-ignore no-explicit-any -- methods of two classes, one of them protected
  wrap(object: any, methods: readonly string[]): void {
    for (const method of methods) {
      const original = object[method].bind(object);
      object[method] = (...args: unknown[]) => {
        this.pass();
        const result = original(...args);
        if (result instanceof Promise) {
          return result.then((value) => {
            this.pass();
            return value;
          });
        }
        this.pass();
        return result;
      };
    }
  }
}

Deno.test("runJob() that is killed between any two steps leaves a whole model in use, and the next one ends the same", () =>
  inTempDir(async (root) => {
    let crashes = 0;
    for (let crashAt = 0;; crashAt++) {
      const folder = join(root, String(crashAt));
      await job(folder, new FakeSteps("first", 0.5));
      const moments = new Moments(crashAt);
      const steps = new FakeSteps("second", 0.5);
      moments.wrap(steps, ["snapshot", "train", "merge", "evaluate"]);
      let crashed = false;
      {
        using state = ServiceState.open(folder);
        moments.wrap(state, ["record", "adopt", "link", "clear"]);
        try {
          await runJob(state, steps, OPTIONS, silent);
        } catch (error) {
          assert(error instanceof Crash, String(error));
          crashed = true;
        }
      }
      assert(["merged from first", "merged from second"].includes(modelInUse(folder)));
      const next = await job(folder, new FakeSteps("second", 0.5));
      assert(["promoted", "nothing new"].includes(next.outcome), next.outcome);
      assertEquals(modelInUse(folder), "merged from second");
      using state = ServiceState.open(folder);
      const promoted = state.records.filter(({ step }) => step === "promoted");
      assertEquals(promoted.length, 2, `crash ${crashAt}`);
      assertEquals(state.rollBack(), "0001");
      assertEquals(modelInUse(folder), "merged from first");
      if (!crashed) break;
      crashes++;
    }
    assert(crashes >= 20, `moments: ${crashes}`);
  }));

Deno.test("ServiceState.rollBack() goes to the model before, a named one or the base, and no further", () =>
  inTempDir(async (folder) => {
    for (const data of ["first", "second"]) await job(folder, new FakeSteps(data, 0.5));
    using state = ServiceState.open(folder);
    const earlier = () => readEarlier(folder).map(({ name }) => name);
    assertEquals(earlier(), ["0001"]);
    assertThrows(() => state.rollBack("0007"), UsageError, "models that are there: 0001, 0002");
    assertThrows(() => state.rollBack("0002"), UsageError, "it is in use already");
    assertEquals(state.rollBack(), "0001");
    assertEquals(state.rollBack(), null);
    assertEquals(modelInUse(folder), "base");
    assertThrows(() => state.rollBack(), UsageError, "the base is in use already");
    assertEquals(earlier(), []); // the base is none of them
    assertEquals(state.rollBack("0002"), "0002");
    assertEquals(modelInUse(folder), "merged from second");
    assertThrows(() => ServiceState.open(folder), BusyError, "in use by another job");
  }));

Deno.test("runJob() without its journal goes on with the model in use, and takes no name again", () =>
  inTempDir(async (folder) => {
    for (const data of ["first", "second"]) await job(folder, new FakeSteps(data, 0.5));
    for (
      const [i, lose] of [() => Deno.removeSync(join(folder, "journal")), () => {
        Deno.writeFileSync(join(folder, "journal"), new Uint8Array());
      }].entries()
    ) {
      const before = modelInUse(folder);
      const models = names(join(folder, "models"));
      lose();
      const failing = new FakeSteps(`broken ${i}`, 0.5);
      failing.train = () => Promise.resolve({ ended: "failed", why: "no memory", code: 1 });
      assertEquals((await job(folder, failing)).outcome, "failed");
      assertEquals([modelInUse(folder), names(join(folder, "models"))], [before, models]);
      assertEquals((await job(folder, new FakeSteps(`third ${i}`, 0.5))).outcome, "promoted");
      assertEquals(modelInUse(folder), `merged from third ${i}`);
      assert(!models.includes(readInUse(folder).name!));
      using state = ServiceState.open(folder);
      state.rollBack();
      assertEquals(modelInUse(folder), before);
      state.rollBack(names(join(folder, "models")).at(-1));
    }
  }));
