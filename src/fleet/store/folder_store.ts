/**
 * A fleet's store as a plain folder: on a stick, a mounted share, or what another updater unpacks.
 *
 *     order.dsse.json        the newest order
 *     orders/N.dsse.json     kept orders by their number
 *     pieces/SHA256          pieces of releases
 *     boxes/NAME.json        reports, where the folder can be written
 */
import { join } from "@std/path";
import { BadInputError, BusyError, StorageError } from "../../errors.ts";
import { makeDirectory, removeFile, replaceFile } from "../../system/durable_files.ts";
import { sleep } from "../../system/sleep.ts";
import { readSmallFile } from "../../system/small_file.ts";
import { MOST_ENVELOPE_BYTES } from "../release/envelope.ts";
import { isDigest, PIECE_BYTES } from "../release/order.ts";
import { isBoxName, MOST_REPORT_BYTES } from "../release/report.ts";
import { PieceCheck } from "./piece_check.ts";
import type { FleetStore, StoredOrder } from "./store.ts";

const ORDER = "order.dsse.json";
const [ORDERS, PIECES, BOXES] = ["orders", "pieces", "boxes"];
const KEPT_ORDER = /^(\d{1,16})\.dsse\.json$/;
const REPORT = /^(.+)\.json$/;
/** As a bucket of NATS keeps. */
const KEPT_ORDERS = 64;

export class FolderStore implements FleetStore {
  readonly address: string;

  constructor(readonly folder: string) {
    this.address = folder;
  }

  create(): Promise<void> {
    for (const name of [ORDERS, PIECES, BOXES]) makeDirectory(join(this.folder, name));
    return Promise.resolve();
  }

  order(): Promise<StoredOrder | undefined> {
    const bytes = readSmallFile(join(this.folder, ORDER), MOST_ENVELOPE_BYTES);
    const revision = Math.max(0, ...this.#kept());
    return Promise.resolve(bytes && { bytes, revision });
  }

  orders(): Promise<Uint8Array[]> {
    const kept = this.#kept().map((number) =>
      readSmallFile(join(this.folder, ORDERS, `${number}.dsse.json`), MOST_ENVELOPE_BYTES)
    );
    return Promise.resolve(kept.filter((bytes) => bytes !== undefined));
  }

  putOrder(envelope: Uint8Array<ArrayBuffer>, after: number | undefined): Promise<void> {
    const kept = this.#kept();
    if ((kept[0] ?? 0) !== (after ?? 0)) {
      return Promise.reject(
        new BusyError(`Somebody else has given an order in ${this.folder}: try again`),
      );
    }
    const number = (after ?? 0) + 1;
    replaceFile(join(this.folder, ORDERS, `${number}.dsse.json`), envelope);
    replaceFile(join(this.folder, ORDER), envelope);
    for (const old of kept.slice(KEPT_ORDERS - 1)) {
      removeFile(join(this.folder, ORDERS, `${old}.dsse.json`));
    }
    return Promise.resolve();
  }

  putPiece(digest: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    replaceFile(join(this.folder, PIECES, digest), bytes);
    return Promise.resolve();
  }

  piece(digest: string, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const path = join(this.folder, PIECES, digest);
    const bytes = readSmallFile(path, PIECE_BYTES);
    if (bytes === undefined) {
      throw new BadInputError(`${path} is missing: publish the release again`);
    }
    const check = new PieceCheck(digest, sizeBytes, this.folder);
    check.add(bytes);
    return Promise.resolve(check.end());
  }

  pieces(): Promise<string[]> {
    return Promise.resolve(names(join(this.folder, PIECES)).filter(isDigest));
  }

  removePiece(digest: string): Promise<void> {
    removeFile(join(this.folder, PIECES, digest));
    return Promise.resolve();
  }

  report(box: string, report: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      makeDirectory(join(this.folder, BOXES));
      replaceFile(join(this.folder, BOXES, `${box}.json`), report);
    } catch (error) {
      // A stick may be read-only: the box knows its state without a report.
      if (!(error instanceof StorageError)) throw error;
    }
    return Promise.resolve();
  }

  reports(): Promise<ReadonlyMap<string, Uint8Array>> {
    const found = new Map<string, Uint8Array>();
    for (const name of names(join(this.folder, BOXES))) {
      const box = REPORT.exec(name)?.[1];
      if (!isBoxName(box)) continue;
      const bytes = readSmallFile(join(this.folder, BOXES, name), MOST_REPORT_BYTES);
      if (bytes !== undefined) found.set(box, bytes);
    }
    return Promise.resolve(found);
  }

  changed(_: number | undefined, waitMs: number, signal: AbortSignal): Promise<void> {
    return sleep(waitMs, signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  /** Numbers of kept orders, the greatest first. */
  #kept(): number[] {
    return names(join(this.folder, ORDERS))
      .flatMap((name) => KEPT_ORDER.exec(name)?.slice(1).map(Number) ?? [])
      .sort((a, b) => b - a);
  }
}

function names(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw new StorageError(`Cannot list ${folder}: ${(error as Error).message}`, { cause: error });
  }
}
