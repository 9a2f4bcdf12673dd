/** What ranks of a search tell each other: a JSON object, and the files of a trial's folder. */
import { join, relative } from "@std/path";
import { packFiles, unpackFiles } from "../../train/packed_files.ts";
import type { RankSearchResult } from "./result.ts";
import type { Trial } from "./train_trial.ts";
import type { Validated } from "../../search/metric.ts";

/** What rank 0 tells another. */
export type Order =
  | { readonly kind: "train"; readonly trial: Trial; readonly files: Files }
  /** Ends the training in order. */
  | { readonly kind: "stop" }
  /** The search is over. */
  | { readonly kind: "end"; readonly result: RankSearchResult };

/** What another rank tells rank 0 of a trial. */
export interface Answer {
  /** As {@linkcode Trained}, with texts; `interrupted` if the rank itself was asked to end. */
  readonly end:
    | Validated
    | { readonly failed: string }
    | { readonly refused: string }
    | "out of time"
    | "interrupted";
  readonly seconds: number;
  readonly files: Files;
}

/** A folder's files by path in it; absent if both ranks see the same folder. */
export type Files = ReadonlyMap<string, Uint8Array> | undefined;

/** Name of the object among the files. */
const MESSAGE = "message.json";
const FOLDER = "folder/";

/** Encodes a message. */
export function encodeMessage(
  { files, ...message }: (Order | Answer) & { readonly files?: Files },
): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(
    JSON.stringify({ ...message, hasFiles: files !== undefined }),
  );
  const named = [...files ?? []].map(([path, bytes]) => [FOLDER + path, [bytes]] as const);
  return packFiles(new Map([[MESSAGE, [json]], ...named]));
}

/** Decodes a message of {@linkcode encodeMessage}. */
export function decodeMessage<M extends Order | Answer>(bytes: Uint8Array<ArrayBuffer>): M {
  const packed = unpackFiles(bytes);
  const { hasFiles, ...message } = JSON.parse(new TextDecoder().decode(packed.get(MESSAGE)));
  packed.delete(MESSAGE);
  const files = hasFiles
    ? new Map([...packed].map(([name, content]) => [name.slice(FOLDER.length), content]))
    : undefined;
  return { ...message, files };
}

/** All files of a folder by path in it; none if there is no folder. */
export function filesOf(folder: string): ReadonlyMap<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const add = (path: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(path)) {
      const at = join(path, name);
      if (isDirectory) add(at);
      else files.set(relative(folder, at), Deno.readFileSync(at));
    }
  };
  try {
    add(folder);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return files;
}
