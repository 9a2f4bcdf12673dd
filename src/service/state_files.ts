/** Reading a service's folder, which may belong to another user: nothing in it is followed out of it. */
import { join } from "@std/path";
import { StorageError } from "../errors.ts";
import { HeldFolder } from "../system/held_folder.ts";
import { parseJournal, type ReadJournal } from "./journal.ts";
import { type CycleName, standingOf } from "./records.ts";

/** Names in the folder. */
export const JOURNAL = "journal";
export const CURRENT = "current";
export const MODELS = "models";
/** What files begin with that keep damaged lines of the journal (damage.ts). */
export const DAMAGED = "journal.damaged-";

/** A journal of 300 bytes a line has no more in hundreds of years of nightly rounds. */
const MOST_JOURNAL_BYTES = 2 ** 26;

/** What is in use, as a reader of the folder sees it. */
export interface InUse {
  /** `null` for the base. */
  readonly name: CycleName | null;
  /** Folder of the model; `undefined` for the base. */
  readonly path?: string;
}

/** The model that the link leads to; `null` for the base. */
export function linkedModel(folder: HeldFolder): CycleName | null {
  const target = folder.readLink(CURRENT);
  if (target === undefined) return null;
  const name = /^models\/(\d{1,15})\/model$/.exec(target)?.[1];
  if (name !== undefined) return name;
  throw new StorageError(
    `${join(folder.path, CURRENT)} leads to ${JSON.stringify(target)}, which is no model of the ` +
      "service: remove it",
  );
}

/** Records of the journal; none where there is no journal. */
export function journalIn(folder: HeldFolder): ReadJournal {
  return parseJournal(folder.read(JOURNAL, MOST_JOURNAL_BYTES) ?? new Uint8Array());
}

/** Promoted models that are there, by name, oldest first. */
export function modelNames(folder: HeldFolder): CycleName[] {
  using models = folder.folder(MODELS);
  const names = models?.names() ?? [];
  return names.filter((name) => /^\d{1,15}$/.test(name)).sort();
}

/** Whether a promoted model is there. */
export function isModelThere(folder: HeldFolder, name: CycleName): boolean {
  using models = folder.folder(MODELS);
  if (models?.kind(name) !== "folder") return false;
  using model = models.folder(name);
  return model?.kind("model") === "folder";
}

/** The model that the link leads to. */
export function readInUse(folder: string): InUse {
  using held = HeldFolder.open(folder);
  const name = held === undefined ? null : linkedModel(held);
  return name === null ? { name } : { name, path: join(folder, MODELS, name, "model") };
}

/** Promoted models that a rollback would go back to and that are still there, the newest first. */
export function readEarlier(folder: string): InUse[] {
  using held = HeldFolder.open(folder);
  if (held === undefined) return [];
  const { before, inUse } = standingOf(journalIn(held).records);
  const names = new Set(before.toReversed().filter((name) => name !== null));
  return [...names].filter((name) => name !== inUse && isModelThere(held, name))
    .map((name) => ({ name, path: join(folder, MODELS, name, "model") }));
}

/** A folder's journal, with the names of files that keep lines of it that were damaged. */
export function readJournal(
  folder: string,
): ReadJournal & { readonly keptFiles: readonly string[] } {
  using held = HeldFolder.open(folder);
  if (held === undefined) return { ...parseJournal(new Uint8Array()), keptFiles: [] };
  const keptFiles = held.names().filter((name) => name.startsWith(DAMAGED)).sort();
  return { ...journalIn(held), keptFiles };
}
