/** The files of an adapter or a merged model on disk, as those of a release. */
import { createHash } from "node:crypto";
import { basename, join } from "@std/path";
import { BadInputError, ParameterError, StorageError } from "../../errors.ts";
import { adapterFolder, readAdapterFiles } from "../../model/adapter_dir.ts";
import { CERTIFICATE_FILE } from "../../model/merge_adapters.ts";
import { exists } from "../../system/durable_files.ts";
import { isFolder } from "../../system/folders.ts";
import { readAt } from "../../system/read_at.ts";
import { regularFileSize } from "../../system/regular_file.ts";
import {
  isFileName,
  LIMITS,
  PIECE_BYTES,
  type Release,
  type ReleaseFile,
} from "../release/order.ts";

/** A file whose bytes can be read in pieces. */
export interface SourceFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** The bytes from an offset on, at most {@linkcode PIECE_BYTES}. */
  read(offset: number): Uint8Array<ArrayBuffer>;
}

/** What is published. */
export interface Source {
  readonly kind: Release["kind"];
  readonly files: readonly SourceFile[];
}

/**
 * Finds an adapter or a merged model.
 *
 * @param path folder of either, or the name of an adapter in graft's store
 * @throws {BadInputError} if it is neither, or a merged model without its certificate
 */
export function findSource(path: string): Source {
  const folder = adapterFolder(path);
  if (exists(join(folder, CERTIFICATE_FILE))) return { kind: "model", files: modelFiles(folder) };
  if (exists(join(folder, "adapter_config.json"))) {
    const files = [...readAdapterFiles(folder)].map(([name, bytes]) =>
      inMemory(`adapter/${name}`, bytes)
    );
    return { kind: "adapter", files };
  }
  throw new BadInputError(
    `${path} is neither an adapter's folder (adapter_config.json) nor a merged model with its ` +
      `certificate (${CERTIFICATE_FILE}), as graft train and graft merge write them`,
  );
}

/**
 * Rows that boxes without data of their own measure on, and calibrate a merge with.
 *
 * @param path a folder with `train` and `valid` files, or one file for both
 */
export function rowsSource(path: string): readonly SourceFile[] {
  const ending = (name: string) => /\.(jsonl|csv|tsv)$/.exec(name)?.[0];
  const files = isFolder(path)
    ? [...Deno.readDirSync(path)].map(({ name }) => [name, join(path, name)])
    : ["train", "valid"].map((part) => [`${part}${ending(path) ?? ""}`, path]);
  const found = ["train", "valid"].flatMap((part) =>
    files.filter(([name]) => name === `${part}${ending(name)}`)
  );
  if (found.length === 2) return found.map(([name, path]) => onDisk(`data/${name}`, path));
  throw new ParameterError(
    "data",
    (name) =>
      `${
        name("data")
      } must be a .jsonl, .csv or .tsv file, or a folder with one train and one valid file ` +
      `of these: current value is ${path}`,
  );
}

function modelFiles(folder: string, prefix = "model"): SourceFile[] {
  const entries = [...Deno.readDirSync(folder)].filter(({ name }) => !name.startsWith("."));
  return entries.sort((a, b) => a.name < b.name ? -1 : 1).flatMap(({ name, isDirectory }) =>
    isDirectory
      ? modelFiles(join(folder, name), `${prefix}/${name}`)
      : [onDisk(`${prefix}/${name}`, join(folder, name))]
  );
}

function inMemory(name: string, bytes: Uint8Array): SourceFile {
  return {
    name,
    sizeBytes: bytes.length,
    read: (offset) => bytes.slice(offset, offset + PIECE_BYTES),
  };
}

function onDisk(name: string, path: string): SourceFile {
  const sizeBytes = regularFileSize(path);
  if (sizeBytes === undefined) throw new BadInputError(`${path} is missing`);
  return {
    name,
    sizeBytes,
    read(offset) {
      const piece = new Uint8Array(Math.min(PIECE_BYTES, sizeBytes - offset));
      try {
        using file = Deno.openSync(path);
        if (readAt(file, offset, piece) < piece.length) {
          throw new Error("it became shorter meanwhile");
        }
      } catch (error) {
        throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, {
          cause: error,
        });
      }
      return piece;
    },
  };
}

/**
 * Describes files for an order.
 *
 * @throws {BadInputError} for names or a number of files that an order cannot have
 */
export function describeFiles({ kind, files }: Source): readonly ReleaseFile[] {
  if (files.length > LIMITS.files) {
    throw new BadInputError(
      `A release has at most ${LIMITS.files} files: current number is ${files.length}`,
    );
  }
  return files.map((file) => {
    const { name, sizeBytes } = file;
    if (!isFileName(name, kind)) {
      throw new BadInputError(
        `${
          basename(name)
        }: a release's files have names of letters, digits and . _ - alone: rename it`,
      );
    }
    const pieces: string[] = [];
    for (let at = 0; at < sizeBytes; at += PIECE_BYTES) pieces.push(digestOf(file.read(at)));
    return { name, sizeBytes, pieces };
  });
}

export const digestOf = (bytes: Uint8Array): string =>
  createHash("sha256").update(bytes).digest("hex");
