/**
 * Adapter folders on disk.
 *
 * A save writes every file under `<name>.new` first, `graft.json.new` last, and then renames them one
 * by one. A save that is cut short is therefore either not begun as far as a reader can tell, or can
 * be finished by it: `graft.json` knows the digests of the files that belong to it, whatever their
 * names are at the moment.
 */
import { join } from "@std/path";
import { BadInputError, StorageError } from "../errors.ts";
import {
  type Adapter,
  ADAPTER_FILES,
  decodeAdapter,
  decodeCard,
  encodeAdapter,
  type Files,
} from "../lora/adapter_files.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import { digestOf } from "../lora/digest.ts";
import { findNamedAdapter } from "../hub/pulled.ts";
import { makeDirectory, replaceFile, syncDirectory } from "../system/durable_files.ts";
import { resolveExternalData } from "./external_data.ts";

const PENDING = ".new";

/**
 * Writes an adapter, or replaces one, so that a reader always finds the old or the new.
 *
 * @throws {StorageError} naming the path
 */
export function saveAdapter(
  directory: string,
  adapter: Adapter & { readonly card: AdapterCard },
): void {
  makeDirectory(directory);
  finishPending(directory);
  const files = encodeAdapter(adapter);
  for (const [name, bytes] of files) replaceFile(join(directory, name + PENDING), bytes);
  putInPlace(directory, files);
}

/** Finishes a save that was cut short, so that the next one cannot take its files apart. */
function finishPending(directory: string): void {
  const card = readIfThere(directory, ADAPTER_FILES.card + PENDING);
  if (card === undefined) return;
  const files = filesOf(directory, card);
  if (files === undefined) remove(join(directory, ADAPTER_FILES.card + PENDING));
  else putInPlace(directory, files);
}

function putInPlace(directory: string, files: ReadonlyMap<string, unknown>): void {
  for (const name of Object.values(ADAPTER_FILES)) {
    const path = join(directory, name);
    if (!files.has(name)) remove(path);
    // A save that is being finished may have renamed some of its files already.
    else if (exists(path + PENDING)) rename(path + PENDING, path);
  }
  // Before the next save: the disk must not have that one's files and a card of this one.
  syncDirectory(directory);
}

/** An adapter as loaded, with what the user should know about it. */
export interface LoadedAdapter {
  /** The adapter. */
  readonly adapter: Adapter;
  /** What does not fit together in its files; sentences. */
  readonly notes: readonly string[];
}

/**
 * Reads an adapter's folder, graft's or PEFT's own.
 *
 * @param path of the folder, or an adapter's name
 * @throws {BadInputError} for a folder that holds no sound adapter, naming the file and what to do
 */
export function loadAdapter(path: string): LoadedAdapter {
  const directory = adapterFolder(path);
  const adapter = decodeAdapter(readAdapterFiles(directory), directory);
  if (adapter.card !== undefined) return { adapter, notes: [] };
  const note =
    `${directory} has no ${ADAPTER_FILES.card}, so it was not made by graft: whether it ` +
    "belongs to this base is checked by module names and shapes only";
  return { adapter, notes: [note] };
}

/** The folder of an adapter: the path itself, or what has it for a name in the store or from a hub. */
export function adapterFolder(path: string): string {
  return exists(path) ? path : findNamedAdapter(path) ?? path;
}

/**
 * Digest of what an adapter's folder holds.
 *
 * @throws {BadInputError} as {@linkcode readAdapterFiles}
 */
export function adapterDigest(path: string): string {
  const files = readAdapterFiles(adapterFolder(path));
  const sums = [...files].map(([name, bytes]) => `${name} ${digestOf(bytes)}\n`).sort();
  return digestOf(new TextEncoder().encode(sums.join("")));
}

/**
 * An adapter's files by name, as the newest whole save left them.
 *
 * @throws {BadInputError} for a folder that holds no adapter
 */
export function readAdapterFiles(directory: string): Files {
  return filesOfGraft(directory) ?? filesOfPeft(directory);
}

/** The files that the newest whole `graft.json` names; `undefined` where there is none. */
function filesOfGraft(directory: string): Files | undefined {
  const pending = readIfThere(directory, ADAPTER_FILES.card + PENDING);
  const finished = pending && filesOf(directory, pending);
  if (finished !== undefined) return finished;
  const card = readIfThere(directory, ADAPTER_FILES.card);
  if (card === undefined) return undefined;
  const files = filesOf(directory, card);
  if (files !== undefined) return files;
  throw new BadInputError(
    `${directory}: the adapter's files are not those that ${ADAPTER_FILES.card} was saved with; ` +
      `if another tool changed them on purpose, remove ${ADAPTER_FILES.card}`,
  );
}

/** Files whose digests a card names, under their final or pending names; `undefined` if any is gone. */
function filesOf(directory: string, card: Uint8Array): Files | undefined {
  const { files: digests } = decodeCard(card, join(directory, ADAPTER_FILES.card));
  const files = new Map<string, Uint8Array>();
  for (const name of [ADAPTER_FILES.config, ADAPTER_FILES.tensors, ADAPTER_FILES.head]) {
    const digest = digests.get(name);
    if (digest === undefined) continue;
    const bytes = [name, name + PENDING]
      .map((candidate) => readIfThere(directory, candidate))
      .find((content) => content !== undefined && digestOf(content) === digest);
    if (bytes === undefined) return undefined;
    files.set(name, bytes);
  }
  return files.set(ADAPTER_FILES.card, card);
}

function filesOfPeft(directory: string): Files {
  const files = new Map<string, Uint8Array>();
  for (const name of [ADAPTER_FILES.config, ADAPTER_FILES.tensors]) {
    const bytes = readIfThere(directory, name);
    if (bytes !== undefined) files.set(name, bytes);
  }
  if (files.has(ADAPTER_FILES.tensors)) return files;
  if (exists(join(directory, "adapter_model.bin"))) {
    throw new BadInputError(
      `${directory}/adapter_model.bin is a pickle, which can run code when it is read: convert it with ` +
        "`PeftModel.from_pretrained(base, dir).save_pretrained(dir, safe_serialization=True)`",
    );
  }
  throw new BadInputError(
    `${directory}: there is no adapter here: ${ADAPTER_FILES.tensors} is missing; ` +
      "`graft list` shows adapters that have a name",
  );
}

/** A file of the folder itself, `undefined` where it is missing; links out of it are not followed. */
function readIfThere(directory: string, name: string): Uint8Array | undefined {
  const path = join(directory, name);
  if (!exists(path)) return undefined;
  let real: string;
  try {
    real = resolveExternalData(path, name);
  } catch (cause) {
    if (!(cause instanceof BadInputError)) throw cause;
    throw new BadInputError(
      `${path}: it must be a regular file of the adapter's folder, not a link out of it`,
      { cause },
    );
  }
  return attempt("read", path, () => Deno.readFileSync(real));
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw new StorageError(`Cannot look at ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function rename(from: string, to: string): void {
  attempt("write", to, () => Deno.renameSync(from, to));
}

function remove(path: string): void {
  if (exists(path)) attempt("remove", path, () => Deno.removeSync(path));
}

function attempt<T>(what: string, path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new StorageError(`Cannot ${what} ${path}: ${(error as Error).message}`, { cause: error });
  }
}
