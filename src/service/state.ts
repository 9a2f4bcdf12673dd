/**
 * The service's folder: its journal, the models it promoted, the link to the one in use, and the
 * cycle in work.
 *
 *     journal            what was done (journal.ts)
 *     data/              rows to learn from, as the operator leaves them
 *     cycles/0004/       the cycle in work: data/, train.yaml, adapter/, model/
 *     models/0003/       what a promoted cycle left: train.yaml, adapter/, model/
 *     current            link to models/0003/model; missing where the base is in use
 *
 * The journal decides which model is in use; the link follows it and is put right by
 * {@linkcode ServiceState.settle} where a kill came between the two.
 */
import { join } from "@std/path";
import { BusyError, StorageError, UsageError } from "../errors.ts";
import { claimDirectory } from "../system/claim.ts";
import {
  appendAndSync,
  exists,
  makeDirectory,
  moveDurably,
  removeDirectory,
  removeFile,
  removeLeftovers,
  replaceLink,
} from "../system/durable_files.ts";
import { formatRecord, parseJournal, type ReadJournal } from "./journal.ts";
import {
  type CycleName,
  type JournalEvent,
  type JournalRecord,
  modelBefore,
  modelsToKeep,
  type Standing,
  standingOf,
} from "./records.ts";

/** Names in the folder. */
const JOURNAL = "journal";
const CURRENT = "current";

/** What is in use, as a reader of the folder sees it. */
export interface InUse {
  /** `null` for the base. */
  readonly name: CycleName | null;
  /** Folder of the model; `undefined` for the base. */
  readonly path?: string;
}

/** The model that the link leads to. */
export function readInUse(folder: string): InUse {
  try {
    const target = Deno.readLinkSync(join(folder, CURRENT));
    const name = /^models\/(\d+)\/model$/.exec(target)?.[1];
    if (name !== undefined) return { name, path: join(folder, target) };
    throw new StorageError(
      `${join(folder, CURRENT)} leads to ${target}, which is no model of the service: remove it`,
    );
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { name: null };
    if (error instanceof StorageError) throw error;
    const message = `Cannot read ${join(folder, CURRENT)}: ${(error as Error).message}`;
    throw new StorageError(message, { cause: error });
  }
}

/** Folder of a promoted model itself. */
const modelIn = (folder: string, name: CycleName) => join(folder, "models", name, "model");

/** Promoted models that a rollback would go back to and that are still there, the newest first. */
export function readEarlier(folder: string): InUse[] {
  const { before, inUse } = standingOf(readJournal(folder).records);
  const names = new Set(before.toReversed().filter((name) => name !== null));
  return [...names].filter((name) => name !== inUse)
    .map((name) => ({ name, path: modelIn(folder, name) }))
    .filter(({ path }) => exists(path));
}

/** Records of a folder's journal; none where there is no journal. */
export function readJournal(folder: string): ReadJournal {
  const path = join(folder, JOURNAL);
  let bytes = new Uint8Array();
  try {
    bytes = Deno.readFileSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
    }
  }
  return parseJournal(bytes, path);
}

/** A service's folder, claimed for changes: one process has it at a time. */
export class ServiceState implements Disposable {
  #records: JournalRecord[];
  #end: number;
  #digits: string;

  private constructor(readonly folder: string, readonly claim: Disposable, read: ReadJournal) {
    this.#records = [...read.records];
    this.#end = read.sizeBytes;
    this.#digits = read.digits;
  }

  /**
   * Opens the folder, made where it is missing, and puts right what a kill left.
   *
   * @throws {BusyError} where another process has it
   * @throws {StorageError} where it cannot be written
   */
  static open(folder: string): ServiceState {
    for (const name of ["cycles", "models"]) makeDirectory(join(folder, name));
    const claim = claimDirectory(folder);
    if (claim === undefined) {
      throw new BusyError(
        `${folder} is in use by another job, or cannot be locked: try again when it has ended, or ` +
          "end it (systemctl stop graft-train): the next round goes on with its work",
      );
    }
    try {
      const state = new ServiceState(folder, claim, readJournal(folder));
      if (state.records.length === 0) state.find();
      state.settle();
      return state;
    } catch (error) {
      claim[Symbol.dispose]();
      throw error;
    }
  }

  get records(): readonly JournalRecord[] {
    return this.#records;
  }

  get standing(): Standing {
    return standingOf(this.#records);
  }

  /** Folder of a cycle in work. */
  cycle(name: CycleName): string {
    return join(this.folder, "cycles", name);
  }

  /** Folder of what a promoted cycle left. */
  model(name: CycleName): string {
    return join(this.folder, "models", name);
  }

  /** Writes an event down; it counts when this returns. */
  record(event: JournalEvent): void {
    const record = { ...event, at: new Date().toISOString() };
    const { line, digits } = formatRecord(record, this.#digits);
    appendAndSync(join(this.folder, JOURNAL), this.#end, line);
    this.#end += line.length;
    this.#digits = digits;
    this.#records.push(record);
  }

  /** Writes down what is there without a journal: nothing of it is lost, and no name is used again. */
  protected find(): void {
    const names = Array.from(Deno.readDirSync(join(this.folder, "models")), ({ name }) => name);
    const models = names.filter((name) => /^\d+$/.test(name)).sort();
    if (models.length === 0) return;
    const { name } = readInUse(this.folder);
    const inUse = name !== null && models.includes(name) ? name : null;
    this.record({ step: "found", inUse, models });
  }

  /** Puts a cycle's model among the promoted ones, to be pointed at. */
  adopt(name: CycleName): void {
    // A kill came between this and the record of the promotion.
    if (!exists(this.cycle(name)) && exists(this.model(name))) return;
    for (const done of ["data", "adapter/checkpoints"]) {
      const path = join(this.cycle(name), done);
      if (exists(path)) removeDirectory(path);
    }
    moveDurably(this.cycle(name), this.model(name));
  }

  /** Decides which model is in use: written down first, then the link. */
  promote(name: CycleName): void {
    this.record({ step: "promoted", cycle: name, from: this.standing.inUse });
    this.settle();
  }

  /**
   * Goes back.
   *
   * @param to a model that is still there, `null` for the base; default: the one before
   * @returns the model in use now
   * @throws {UsageError} where there is none to go back to
   */
  rollBack(to?: CycleName | null): CycleName | null {
    const { standing } = this;
    if (standing.inUse === null && (to === undefined || to === null)) {
      throw new UsageError("Cannot roll back: the base is in use already");
    }
    const there = (name: CycleName) => exists(modelIn(this.folder, name));
    if (typeof to === "string" && !there(to)) {
      const names = standing.promoted.filter(there).join(", ") || "none";
      throw new UsageError(`Cannot roll back to "${to}": models that are there: ${names}`);
    }
    const target = to === undefined ? modelBefore(standing, there) : to;
    if (target === standing.inUse) {
      throw new UsageError(`Cannot roll back to "${target}": it is in use already`);
    }
    this.record({ step: "rolled back", to: target, from: standing.inUse });
    this.settle();
    return target;
  }

  /** Makes the link lead where the journal says, and clears what killed writers left. */
  settle(): void {
    const { inUse } = this.standing;
    if (inUse !== readInUse(this.folder).name) this.link(inUse);
    for (const name of ["", "cycles", "models"]) removeLeftovers(join(this.folder, name));
  }

  /** The one step that readers see. */
  protected link(name: CycleName | null): void {
    const path = join(this.folder, CURRENT);
    if (name === null) removeFile(path);
    else replaceLink(path, `models/${name}/model`);
  }

  /** Removes models beyond the newest `count`, and cycles that have ended; returns the models' names. */
  clear(count: number): CycleName[] {
    const { standing } = this;
    const kept = modelsToKeep(standing, count);
    const removed: CycleName[] = [];
    for (const { name } of Deno.readDirSync(join(this.folder, "models"))) {
      if (kept.has(name)) continue;
      removeDirectory(this.model(name));
      removed.push(name);
    }
    const open = standing.last?.done === "ended" ? undefined : standing.last?.name;
    for (const { name } of Deno.readDirSync(join(this.folder, "cycles"))) {
      if (name !== open) removeDirectory(this.cycle(name));
    }
    return removed.sort();
  }

  [Symbol.dispose](): void {
    this.claim[Symbol.dispose]();
  }
}
