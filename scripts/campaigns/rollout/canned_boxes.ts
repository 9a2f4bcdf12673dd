/**
 * Boxes of a fleet in one process, with all of graft but the merge and the measurement: files appear after a
 * while, and losses follow from the release's name. Killed, the process goes on with the same folders.
 *
 * usage: deno run -A canned_boxes.ts SERVER PUBLIC_KEY FOLDER BOX…
 */
import { join } from "@std/path";
import { equals } from "@std/bytes/equals";
import { GraftError } from "../../../src/errors.ts";
import { applyOrder } from "../../../src/fleet/box/apply_order.ts";
import { Follower } from "../../../src/fleet/box/follower.ts";
import { Inbox } from "../../../src/fleet/box/inbox.ts";
import { Outbox } from "../../../src/fleet/box/outbox.ts";
import { ReleaseSteps } from "../../../src/fleet/box/release_steps.ts";
import { acceptOrder } from "../../../src/fleet/box/seen_order.ts";
import { openOrder } from "../../../src/fleet/release/envelope.ts";
import { parseTrustedKeys } from "../../../src/fleet/release/keys.ts";
import type { StepEnd } from "../../../src/service/job.ts";
import { ServiceState } from "../../../src/service/state.ts";
import { makeDirectory, replaceFile } from "../../../src/system/durable_files.ts";
import { openPatient } from "./fleet_store.ts";
import { LOSSES } from "./losses.ts";

const OPTIONS = { margin: 0.01, keep: 3, attempts: 3 };
/** Longest time of a step. */
const MOST_MS = 1500;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const work = () => pause(Math.random() * MOST_MS);

/** Steps that take a while and leave what merges leave. */
class CannedSteps extends ReleaseSteps {
  override async merge(cycle: string): Promise<StepEnd> {
    const folder = join(cycle, "model");
    makeDirectory(folder);
    await work();
    const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    replaceFile(join(folder, "model.onnx"), text(this.files.name));
    await work();
    const candidates = [{ method: "nearest", gain_kept: 0.98 }];
    replaceFile(join(folder, "certificate.json"), text({ method: "nearest", candidates }));
    return { ended: "done", value: undefined };
  }

  override async evaluate(cycle: string, model: "candidate" | string | null) {
    await work();
    const folder = model === "candidate" ? join(cycle, "model") : model;
    const name = folder === null
      ? "base"
      : JSON.parse(Deno.readTextFileSync(join(folder, "model.onnx")));
    return { ended: "done", value: { loss: LOSSES[name] } } as const;
  }
}

async function runBox(box: string): Promise<void> {
  const place = join(folder, box);
  makeDirectory(join(place, "state/fleet"));
  const [inbox, outbox] = [new Inbox(join(place, "inbox")), new Outbox(join(place, "outbox"))];
  let isWanted = false;
  const settings = { box, fleet: "graft", keys, maxBytes: 1e9, retryMs: 5000 };
  const log = () => {};
  const follower = new Follower({ store, inbox, outbox }, settings, log, () => isWanted = true);
  let revision: number | undefined;
  const applies = async () => {
    while (true) {
      await pause(200);
      const envelope = inbox.order();
      if (!isWanted || envelope === undefined) continue;
      isWanted = false;
      const order = openOrder(envelope, keys, "graft", place);
      using state = ServiceState.open(join(place, "state"));
      acceptOrder(join(place, "state/fleet/seen"), order);
      const children = {
        ...{ model: "default", data: join(place, "data"), trainConfig: "{}\n" },
        ...{ validationSplit: 0.1, runtimeFlags: [], dataFlags: [] },
      };
      const report = await applyOrder(order, {
        ...{ box, state, inbox, options: OPTIONS, log },
        steps: (release) => new CannedSteps(release, inbox, children, log, never),
        onReport: (report) => outbox.write(report),
      });
      if (report !== undefined) outbox.write(report);
      if (!equals(inbox.order() ?? envelope, envelope)) isWanted = true;
    }
  };
  const looks = async () => {
    while (true) {
      await survive(async () => {
        revision = await follower.look(never);
      });
      await store.changed(revision, 5000, never);
    }
  };
  const reports = async () => {
    while (true) {
      await survive(() => follower.sendReport());
      await pause(300);
    }
  };
  await Promise.all([applies(), looks(), reports()]);
}

/** The server may be away. */
async function survive(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof GraftError)) throw error;
  }
}

const [server, publicKey, folder, ...boxes] = Deno.args;
const keys = parseTrustedKeys(Deno.readTextFileSync(publicKey), publicKey);
const never = new AbortController().signal;
const store = await openPatient(server);
await Promise.all(boxes.map(runBox));
