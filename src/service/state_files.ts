/** Reads a service's folder, which may belong to another user: no link in it is followed. */
import { join } from "@std/path";
import { StorageError } from "../errors.ts";
import { HeldFolder } from "../system/held_folder.ts";
import { parseJournal, type ReadJournal } from "./journal.ts";
import { type CycleName, type Standing, standingOf } from "./records.ts";

/** Names in the folder. */
export const JOURNAL = "journal";
export const CURRENT = "current";
export const MODELS = "models";
/** Prefix of files with damaged lines of the journal (damage.ts). */
export const DAMAGED = "journal.damaged-";

/** Largest journal: at 300 bytes per line enough for hundreds of years of nightly rounds. */
const MOST_JOURNAL_BYTES = 2 ** 26;

/** The model in use. */
export interface InUse {
  /** `null` for the base. */
  readonly name: CycleName | null;
  /** Folder of the model; `undefined` for the base. */
  readonly path?: string;
}

/** The model that the link points to; `null` for the base. */
export function linkedModel(folder: HeldFolder): CycleName | null {
  const target = folder.readLink(CURRENT);
  if (target === undefined) return null;
  const name = /^models\/(\d{1,15})\/model$/.exec(target)?.[1];
  if (name !== undefined) return name;
  throw new StorageError(
    `${join(folder.path, CURRENT)} leads to ${
      JSON.stringify(target)
    }, which is not a model of the ` +
      "service: remove it",
  );
}

/** Records of the journal; none if there is no journal. */
export function journalIn(folder: HeldFolder): ReadJournal {
  return parseJournal(folder.read(JOURNAL, MOST_JOURNAL_BYTES) ?? new Uint8Array());
}

/** Names of existing promoted models, oldest first. */
export function modelNames(folder: HeldFolder): CycleName[] {
  using models = folder.folder(MODELS);
  const names = models?.names() ?? [];
  return names.filter((name) => /^\d{1,15}$/.test(name)).sort();
}

/** Whether a promoted model exists. */
export function isModelThere(folder: HeldFolder, name: CycleName): boolean {
  using models = folder.folder(MODELS);
  if (models?.kind(name) !== "folder") return false;
  using model = models.folder(name);
  return model?.kind("model") === "folder";
}

/** Reads the model that the link points to. */
export function readInUse(folder: string): InUse {
  using held = HeldFolder.open(folder);
  const name = held === undefined ? null : linkedModel(held);
  return name === null ? { name } : { name, path: join(folder, MODELS, name, "model") };
}

/** Existing promoted models that a rollback would return to, the newest first. */
export function readEarlier(folder: string): InUse[] {
  using held = HeldFolder.open(folder);
  if (held === undefined) return [];
  return earlierModels(held, standingOf(journalIn(held).records))
    .map((name) => ({ name, path: join(folder, MODELS, name, "model") }));
}

/** The same, by name. */
export function earlierModels(folder: HeldFolder, { before, inUse }: Standing): CycleName[] {
  const names = new Set(before.toReversed().filter((name) => name !== null));
  return [...names].filter((name) => name !== inUse && isModelThere(folder, name));
}

/** A folder's journal, with the names of files with damaged lines of it. */
export function readJournal(
  folder: string,
): ReadJournal & { readonly keptFiles: readonly string[] } {
  using held = HeldFolder.open(folder);
  if (held === undefined) return { ...parseJournal(new Uint8Array()), keptFiles: [] };
  const keptFiles = held.names().filter((name) => name.startsWith(DAMAGED)).sort();
  return { ...journalIn(held), keptFiles };
}
