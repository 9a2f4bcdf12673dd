/**
 * The service's folder: its journal, the promoted models, the link to the one in use, and the current
 * cycle.
 *
 *     journal            records of all steps (journal.ts)
 *     data/              rows to learn from, written by the operator
 *     cycles/0004/       the current cycle: data/, train.yaml, adapter/, model/
 *     models/0003/       results of a promoted cycle: train.yaml, adapter/, model/
 *     current            link to models/0003/model; missing if the base is in use
 *
 * The journal decides which model is in use; the link follows it and is repaired by {@linkcode
 * ServiceState.settle} if a kill came between the two.
 */
import { join } from "@std/path";
import { BusyError, UsageError } from "../errors.ts";
import { exists, makeDirectory, moveDurably, removeDirectory } from "../system/durable_files.ts";
import { HeldFolder } from "../system/held_folder.ts";
import { keepDamage } from "./damage.ts";
import { formatRecord, type ReadJournal } from "./journal.ts";
import {
  adopted,
  type CycleName,
  type JournalEvent,
  type JournalRecord,
  modelBefore,
  modelsToKeep,
  type Standing,
  standingOf,
} from "./records.ts";
import {
  CURRENT,
  earlierModels,
  isModelThere,
  JOURNAL,
  journalIn,
  linkedModel,
  modelNames,
  MODELS,
} from "./state_files.ts";

const CYCLES = "cycles";

/** A service's folder, claimed for changes by one process at a time. */
export class ServiceState implements Disposable {
  #records: JournalRecord[];
  #end: number;
  #digits: string;

  private constructor(
    readonly folder: string,
    readonly held: HeldFolder,
    read: ReadJournal,
    /** The first damaged line of the journal that was found when it was opened. */
    readonly damagedLine?: number,
  ) {
    this.#records = [...read.records];
    this.#end = read.sizeBytes;
    this.#digits = read.digits;
  }

  /**
   * Opens the folder, creating it if it is missing, and repairs the state after a kill or with a damaged
   * journal.
   *
   * @throws {BusyError} if another process has it
   * @throws {StorageError} if it cannot be written, or is not a service's folder
   */
  static open(folder: string): ServiceState {
    makeDirectory(folder);
    const held = HeldFolder.open(folder);
    if (!held?.tryLock()) {
      held?.[Symbol.dispose]();
      throw new BusyError(
        `${folder} is in use by another job, or cannot be locked: try again when it has ended, or ` +
          "end it (systemctl stop graft-train): the next round continues its work",
      );
    }
    try {
      for (const name of [CYCLES, MODELS]) held.makeFolder(name);
      const read = journalIn(held);
      const state = new ServiceState(folder, held, keepDamage(held, read), read.damage?.line);
      state.find();
      state.settle();
      return state;
    } catch (error) {
      held[Symbol.dispose]();
      throw error;
    }
  }

  get records(): readonly JournalRecord[] {
    return this.#records;
  }

  get standing(): Standing {
    return standingOf(this.#records);
  }

  /** Folder of the current cycle. */
  cycle(name: CycleName): string {
    return join(this.folder, CYCLES, name);
  }

  /** Folder of a promoted cycle's results. */
  model(name: CycleName): string {
    return join(this.folder, MODELS, name);
  }

  /** Existing models that a rollback would return to, the newest first. */
  get earlier(): readonly CycleName[] {
    return earlierModels(this.held, this.standing);
  }

  /** Records an event; it is on the disk when this returns. */
  record(event: JournalEvent): void {
    const record = { ...event, at: new Date().toISOString() };
    const { line, digits } = formatRecord(record, this.#digits);
    this.held.append(JOURNAL, this.#end, line);
    this.#end += line.length;
    this.#digits = digits;
    this.#records.push(record);
  }

  /**
   * Records models of which the journal does not tell, because it is missing or has lost its end, so that
   * no model is lost and no name is used again.
   */
  protected find(): void {
    const models = modelNames(this.held);
    const told = new Set([...this.standing.promoted, adopted(this.standing)]);
    if (models.every((name) => told.has(name))) return;
    const name = linkedModel(this.held);
    const inUse = name !== null && models.includes(name) ? name : null;
    this.record({ step: "found", inUse, models });
  }

  /**
   * Moves a cycle's model to the promoted ones. It uses paths, like the steps before it: a round works
   * only in a folder of its own user (`round_user.ts`).
   */
  adopt(name: CycleName): void {
    // A kill came between this and the record of the promotion.
    if (!exists(this.cycle(name)) && exists(this.model(name))) return;
    for (const done of ["data", "adapter/checkpoints"]) {
      const path = join(this.cycle(name), done);
      if (exists(path)) removeDirectory(path);
    }
    moveDurably(this.cycle(name), this.model(name));
  }

  /** Puts a model into use: records it first, then changes the link. */
  promote(name: CycleName): void {
    this.record({ step: "promoted", cycle: name, from: this.standing.inUse });
    this.settle();
  }

  /**
   * Returns to an earlier model.
   *
   * @param to an existing model, `null` for the base; default: the one before
   * @returns the model in use now
   * @throws {UsageError} if there is none to return to
   */
  rollBack(to?: CycleName | null): CycleName | null {
    const { standing } = this;
    if (standing.inUse === null && (to === undefined || to === null)) {
      throw new UsageError("Cannot roll back: the base is in use already");
    }
    const there = (name: CycleName) => isModelThere(this.held, name);
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

  /** Updates the link from the journal, and removes unfinished files of killed writers. */
  settle(): void {
    const { inUse } = this.standing;
    if (inUse !== linkedModel(this.held)) this.link(inUse);
    this.held.removeLeftovers();
    for (const name of [CYCLES, MODELS]) {
      using folder = this.held.folder(name);
      folder?.removeLeftovers();
    }
  }

  /** Changes the link: the only step that readers see. */
  protected link(name: CycleName | null): void {
    if (name === null) this.held.remove(CURRENT);
    else this.held.replaceLink(CURRENT, `${MODELS}/${name}/model`);
  }

  /** Removes models beyond the newest `count`, and cycles that have ended; returns the models' names. */
  clear(count: number): CycleName[] {
    const { standing } = this;
    const kept = modelsToKeep(standing, count);
    using models = this.held.folder(MODELS);
    const removed = (models?.names() ?? []).filter((name) => !kept.has(name));
    for (const name of removed) models?.remove(name);
    const open = standing.last?.done === "ended" ? undefined : standing.last?.name;
    using cycles = this.held.folder(CYCLES);
    for (const name of cycles?.names() ?? []) if (name !== open) cycles?.remove(name);
    return removed.sort();
  }

  [Symbol.dispose](): void {
    this.held[Symbol.dispose]();
  }
}
