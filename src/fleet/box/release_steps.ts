/** The steps of a job that installs a release: its files take the place of a training. */
import { createHash } from "node:crypto";
import { dirname, join } from "@std/path";
import { BadInputError, EXIT, StorageError } from "../../errors.ts";
import { CERTIFICATE_FILE } from "../../model/merge_adapters.ts";
import { type ChildSettings, ChildSteps } from "../../service/child_steps.ts";
import type { CycleData, StepEnd } from "../../service/job.ts";
import { takeSnapshot } from "../../service/snapshot.ts";
import { freeDiskBytes } from "../../system/disk.ts";
import { exists, makeDirectory, syncDirectory } from "../../system/durable_files.ts";
import type { Log } from "../../system/journal_log.ts";
import {
  PIECE_BYTES,
  type Release,
  releaseBytes,
  type ReleaseFile,
  releaseId,
} from "../release/order.ts";
import { saveModelRelease } from "./box_release.ts";
import type { Inbox } from "./inbox.ts";

export class ReleaseSteps extends ChildSteps {
  readonly release: string;

  /** @param signal ends the current child in order */
  constructor(
    readonly files: Release,
    readonly inbox: Inbox,
    settings: ChildSettings,
    log: Log,
    signal: AbortSignal,
  ) {
    super(settings, log, signal);
    this.release = releaseId(files);
  }

  /**
   * Copies the release and the rows to measure on: the box's own, which are held out as in its rounds, or
   * those that came with the release.
   */
  override async snapshot(cycle: string): Promise<CycleData | undefined> {
    const { data } = this.settings;
    const needed = releaseBytes(this.files);
    const free = freeDiskBytes(dirname(dirname(cycle)));
    if (free !== undefined && free < needed) {
      throw new StorageError(
        `Release ${this.files.name} needs ${needed} bytes in ${cycle}, and the disk has ${free}: free some`,
      );
    }
    const folder = join(cycle, "data");
    const own = await takeSnapshot(data, folder, this.settings);
    const { kind } = this.files;
    for (const file of this.files.files) {
      if (own === undefined || file.name.startsWith(`${kind}/`)) copyOut(this.inbox, file, cycle);
    }
    saveModelRelease(cycle, { id: this.release, name: this.files.name });
    if (own !== undefined) return { ...own, forgotten: 0 };
    const brought = this.files.files.filter(({ name }) => name.startsWith("data/"));
    if (brought.length === 0) {
      throw new BadInputError(
        `Release ${this.files.name} cannot be measured: ${data} has no rows, and none came with it: add ` +
          "some, or publish it with rows",
      );
    }
    const digest = createHash("sha256").update(brought.flatMap(({ pieces }) => pieces).join())
      .digest("hex");
    const heldOut = brought.filter(({ name }) => name.startsWith("data/valid."))
      .reduce((sum, { name }) => sum + countLines(join(cycle, name)), 0);
    return { digest: `sha256:${digest}`, rows: 0, heldOut, forgotten: 0 };
  }

  /** There is nothing to train: the adapter, or the merged model, came. */
  override train(): Promise<StepEnd> {
    return Promise.resolve({ ended: "done", value: undefined });
  }

  /** Merges an adapter; a model that came merged has its certificate with it. */
  override async merge(cycle: string): Promise<StepEnd> {
    const end = this.files.kind === "adapter"
      ? await super.merge(cycle)
      : { ended: "done", value: undefined } as const;
    if (end.ended !== "done" || exists(join(cycle, "model", CERTIFICATE_FILE))) return end;
    const why = `release ${this.files.name} has no ${CERTIFICATE_FILE}`;
    return { ended: "failed", why, code: EXIT.badInput };
  }
}

/** Puts a file together from its pieces, each of which is verified once more. */
function copyOut(inbox: Inbox, { name, sizeBytes, pieces }: ReleaseFile, cycle: string): void {
  const path = join(cycle, name);
  makeDirectory(dirname(path));
  try {
    using file = Deno.openSync(path, { write: true, create: true, truncate: true });
    for (const [i, digest] of pieces.entries()) {
      const bytes = inbox.piece(digest, Math.min(PIECE_BYTES, sizeBytes - i * PIECE_BYTES));
      for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
    }
    file.syncSync();
  } catch (error) {
    if (error instanceof BadInputError) throw error;
    throw new StorageError(`Cannot write ${path}: ${(error as Error).message}`, { cause: error });
  }
  syncDirectory(dirname(path));
}

function countLines(path: string): number {
  return Deno.readTextFileSync(path).split("\n").filter((line) => line.trim() !== "").length;
}
