import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname, join } from "@std/path";
import { applyOrder, type BoxWork } from "../../src/fleet/box/apply_order.ts";
import { saveModelRelease } from "../../src/fleet/box/box_release.ts";
import { Inbox } from "../../src/fleet/box/inbox.ts";
import { type Order, type Release, releaseId } from "../../src/fleet/release/order.ts";
import type { BoxReport } from "../../src/fleet/release/report.ts";
import { type JobSteps, runJob, type StepEnd } from "../../src/service/job.ts";
import { ServiceState } from "../../src/service/state.ts";
import { readInUse } from "../../src/service/state_files.ts";
import { orderOf, releaseOf } from "../helpers/releases.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const OPTIONS = { margin: 0.01, keep: 3, attempts: 2 };
const DONE = { ended: "done", value: undefined } as const;

function write(path: string, text: string): void {
  Deno.mkdirSync(dirname(path), { recursive: true });
  Deno.writeTextFileSync(path, text);
}

/** Steps with canned losses by the text of a model; the base's is 1. */
class Steps implements JobSteps, Disposable {
  readonly release?: string;

  constructor(
    readonly text: string,
    readonly losses: Readonly<Record<string, number>>,
    readonly what?: Release,
    readonly end: StepEnd = DONE,
  ) {
    this.release = what && releaseId(what);
  }

  snapshot(cycle: string) {
    write(join(cycle, "data/train.jsonl"), "rows");
    if (this.what !== undefined) {
      saveModelRelease(cycle, { id: this.release!, name: this.what.name });
    }
    return Promise.resolve({ digest: this.text, rows: 1, heldOut: 1, forgotten: 0 });
  }

  train = () => Promise.resolve<StepEnd>(DONE);

  merge(cycle: string): Promise<StepEnd> {
    write(join(cycle, "model/model.onnx"), this.text);
    const certificate = { method: "nearest", candidates: [{ method: "nearest", gain_kept: 0.98 }] };
    write(join(cycle, "model/certificate.json"), JSON.stringify(certificate));
    return Promise.resolve(this.end);
  }

  evaluate(cycle: string, model: "candidate" | string | null) {
    const folder = model === "candidate" ? join(cycle, "model") : model;
    const text = folder === null ? "base" : Deno.readTextFileSync(join(folder, "model.onnx"));
    return Promise.resolve({ ended: "done", value: { loss: this.losses[text] ?? 1 } } as const);
  }

  [Symbol.dispose]() {}
}

/** A box that has the pieces of all releases. */
class Box {
  readonly inbox: Inbox;
  losses: Record<string, number> = {};
  end: StepEnd = DONE;
  readonly reports: BoxReport[] = [];

  constructor(readonly path: string) {
    this.inbox = new Inbox(join(path, "inbox"));
    this.inbox.create();
  }

  has(release: Release): void {
    const [{ pieces, sizeBytes }] = release.files;
    Deno.writeFileSync(join(this.path, "inbox/pieces", pieces[0]), new Uint8Array(sizeBytes));
  }

  async apply(order: Order, more: Partial<BoxWork> = {}): Promise<BoxReport | undefined> {
    using state = ServiceState.open(join(this.path, "state"));
    return await applyOrder(order, {
      ...{ box: "mill-1", state, inbox: this.inbox, options: OPTIONS, log: () => {} },
      steps: (release) => new Steps(release.name, this.losses, release, this.end),
      onReport: (report) => void this.reports.push(report),
      ...more,
    });
  }

  async round(text: string): Promise<string> {
    using state = ServiceState.open(join(this.path, "state"));
    return (await runJob(state, new Steps(text, this.losses), OPTIONS, () => {})).outcome;
  }

  get inUse(): string {
    const { path } = readInUse(join(this.path, "state"));
    return path === undefined ? "base" : Deno.readTextFileSync(join(path, "model.onnx"));
  }
}

const [A, B, C] = ["a", "b", "c"].map((name, i) =>
  releaseOf(name, name, `2026-01-0${i + 1}T00:00:00.000Z`)
);

Deno.test("applyOrder() promotes a release that measures better, with its losses and its certificate", () =>
  inTempDir(async (path) => {
    const box = new Box(path);
    box.losses = { a: 0.5 };
    assertEquals((await box.apply(orderOf({ target: A, open: 0 })))?.state, "waiting");
    assertEquals((await box.apply(orderOf({ target: A })))?.state, "fetching");
    box.has(A);
    const { state, loss, lossInUse, gainKept, inUse } = (await box.apply(orderOf({ target: A })))!;
    assertEquals([state, loss, lossInUse, gainKept, inUse], ["promoted", 0.5, 1, 0.98, "a"]);
    assertEquals(box.reports.map(({ state }) => state), ["installing"]);
    assertEquals(box.inUse, "a");
    // The next wave's order finds it decided.
    const again = await box.apply(orderOf({ target: A, sequence: 8 }));
    assertEquals([again?.state, again?.sequence, box.reports.length], ["promoted", 8, 1]);
  }));

Deno.test("applyOrder() rejects what measures no better, and does not try it again", () =>
  inTempDir(async (path) => {
    const box = new Box(path);
    box.losses = { a: 0.5, b: 0.8 };
    for (const release of [A, B]) {
      box.has(release);
      await box.apply(orderOf({ target: release }));
    }
    const { state, loss, lossInUse, why } = (await box.apply(orderOf({ target: B })))!;
    assertEquals([state, loss, lossInUse], ["rejected", 0.8, 0.5]);
    assertMatch(why!, /no better/);
    assertEquals([box.inUse, box.reports.length], ["a", 2]);
  }));

Deno.test("applyOrder() tries what failed again, and reports why", () =>
  inTempDir(async (path) => {
    const box = new Box(path);
    box.losses = { a: 0.5 };
    box.has(A);
    box.end = { ended: "failed", why: "it is an adapter of another base", code: 65 };
    const failed = await box.apply(orderOf({ target: A }));
    assertEquals([failed?.state, failed?.why], ["failed", "it is an adapter of another base"]);
    box.end = { ended: "stopped" };
    assertEquals(await box.apply(orderOf({ target: A })), undefined);
    box.end = DONE;
    assertEquals((await box.apply(orderOf({ target: A })))?.state, "promoted");
  }));

Deno.test("applyOrder() leaves a withdrawn release for the one before, and the box's own models alone", () =>
  inTempDir(async (path) => {
    const box = new Box(path);
    box.losses = { a: 0.5, b: 0.4, own: 0.3, c: 0.2 };
    for (const release of [A, B]) {
      box.has(release);
      await box.apply(orderOf({ target: release }));
    }
    const withdrawn = [releaseId(B)];
    const back = await box.apply(orderOf({ target: A, withdrawn }));
    assertEquals([back?.state, back?.inUse, box.inUse], ["promoted", "a", "a"]);
    assertEquals(await box.round("own"), "promoted");
    const none = orderOf({ target: null, withdrawn: [...withdrawn, releaseId(A)] });
    assertEquals([(await box.apply(none))?.state, box.inUse], ["settled", "own"]);
    box.has(C);
    await box.apply(orderOf({ target: C, withdrawn }));
    assertEquals(box.inUse, "c");
    // The model before is of a withdrawn release, and the one before that the box's own.
    const all = [A, B, C].map(releaseId);
    const settled = await box.apply(orderOf({ target: null, withdrawn: all }));
    assertEquals([settled?.state, settled?.inUse, box.inUse], ["settled", "0003", "own"]);
  }));

Deno.test("applyOrder() installs a release again that is to come back and whose model is gone", () =>
  inTempDir(async (path) => {
    const box = new Box(path);
    box.losses = { a: 0.9, b: 0.5, c: 0.2 };
    for (const release of [A, B, C]) {
      box.has(release);
      await box.apply(orderOf({ target: release }), { options: { ...OPTIONS, keep: 2 } });
    }
    const withdrawn = [releaseId(B), releaseId(C)];
    const back = await box.apply(orderOf({ target: A, withdrawn }));
    assertEquals([back?.state, back?.inUse, box.inUse], ["promoted", "a", "a"]);
    assertEquals(box.reports.length, 4);
  }));

Deno.test("a round and a release that are cut short give way to each other, and begin again", () =>
  inTempDir(async (path) => {
    const box = new Box(path);
    box.losses = { a: 0.5, own: 0.3 };
    box.has(A);
    box.end = { ended: "stopped" };
    assertEquals(await box.apply(orderOf({ target: A })), undefined);
    assertEquals(await box.round("own"), "promoted");
    box.end = DONE;
    const rejected = await box.apply(orderOf({ target: A }));
    assertEquals([rejected?.state, box.inUse], ["rejected", "own"]);
    // A release is no round: the same rows are not learned from again.
    assertEquals(await box.round("own"), "nothing new");
    const journal = Deno.readTextFileSync(join(path, "state/journal"));
    assertStringIncludes(journal, "a round began; the release is installed again after it");
  }));
