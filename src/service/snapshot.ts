/**
 * The data of a cycle: a copy of the data folder's rows, with held-out rows separated.
 *
 * The choice of held-out rows depends only on their prompts, so that a row stays on its side from cycle
 * to cycle and no model is evaluated on rows that an earlier one learned from. The exception are rows of
 * a class that would have none to learn from, until there are others of it.
 */
import { createHash } from "node:crypto";
import { basename, join } from "@std/path";
import { separatorOf } from "../data/csv.ts";
import { Dataset, MAX_ROW_BYTES } from "../data/dataset.ts";
import { FileSource } from "../data/io/file_source.ts";
import { decodeUtf8, records } from "../data/records.ts";
import type { ColumnNames } from "../data/rows.ts";
import { BadInputError, StorageError } from "../errors.ts";
import { makeDirectory } from "../system/durable_files.ts";
import { RowDigests } from "./row_digests.ts";

export interface SnapshotOptions {
  /** Share of the prompts to hold out if the folder has no `valid` or `test` file. */
  readonly validationSplit: number;
  readonly columns?: ColumnNames;
}

/** The copied data. */
export interface Snapshot {
  /** SHA-256 of the rows, to recognise new data. */
  readonly digest: string;
  readonly rows: number;
  readonly heldOut: number;
  /**
   * Mean loss, on the held-out rows, of a guess from the class frequencies in the others; absent if rows
   * have no classes.
   */
  readonly guessLoss?: number;
  /** Digests of the rows to learn from, and of all (row_digests.ts). */
  readonly learned: BigUint64Array<ArrayBuffer>;
  readonly all: BigUint64Array<ArrayBuffer>;
}

type Part = "train" | "valid" | "test";

/** A row of the copy. */
interface CopiedRow {
  readonly part: Part;
  readonly line: string;
  /** Equal for rows with equal prompts. */
  readonly group: number;
  readonly label?: string;
}

const DATA = /\.(jsonl|csv|tsv)$/;

/** The data files of a folder, by part; names that begin with a dot are unfinished and ignored. */
function filesIn(folder: string): { readonly path: string; readonly part: Part }[] {
  let names: string[];
  try {
    names = [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    const message = `Cannot list ${folder}: ${(error as Error).message}`;
    throw new StorageError(message, { cause: error });
  }
  return names.filter((name) => DATA.test(name) && !name.startsWith(".")).sort().map((name) => {
    const stem = name.replace(DATA, "");
    const part = stem === "valid" || stem === "test" ? stem : "train";
    return { path: join(folder, name), part };
  });
}

/** Yields rows of a file, as lines of JSON with their original fields. */
async function* rowsOf(path: string, part: Part, columns?: ColumnNames): AsyncGenerator<CopiedRow> {
  using source = FileSource.open(path);
  const dataset = await Dataset.open(source, { columns });
  const isJson = path.endsWith(".jsonl");
  let separator: string | undefined;
  const dialect = { quoted: !isJson, maxBytes: MAX_ROW_BYTES };
  if (!isJson) {
    for await (const { bytes, line } of records(source, dialect)) {
      separator = separatorOf(decodeUtf8(bytes, `${path}:${line}`));
      break;
    }
  }
  let index = isJson ? 0 : -1; // the heading is not a row
  for await (
    const record of records(source, { ...dialect, separator: separator?.charCodeAt(0) })
  ) {
    const i = index++;
    if (i < 0) continue;
    const place = `${path}:${record.line}`;
    const { fields, row } = dataset.parse(record, place);
    yield {
      part,
      line: isJson ? decodeUtf8(record.bytes, place) : JSON.stringify(fields),
      group: dataset.promptGroup(i),
      label: row.kind === "label" ? row.label : undefined,
    };
  }
}

/** A number in [0, 1) that rows with equal prompts share. */
const fractionOf = (group: number): number => (group % 9973) / 9973;

/**
 * Copies the rows of all data files in a folder: `valid` and `test` files stay separate, all others are
 * joined to `train.jsonl`; if there is neither, prompts are held out as `valid.jsonl`.
 *
 * @param into folder of the copy, synced when this returns
 * @returns `undefined` if the folder has no data
 * @throws {BadInputError} naming file and line, for invalid data, or if nothing can be held out
 * @throws {StorageError} naming the path
 */
export async function takeSnapshot(
  from: string,
  into: string,
  { validationSplit, columns }: SnapshotOptions,
): Promise<Snapshot | undefined> {
  const files = filesIn(from);
  if (!files.some(({ part }) => part === "train")) return undefined;
  const split = files.every(({ part }) => part === "train");
  const holdsOut = split ? await splitBy(files, validationSplit, columns) : () => false;
  const hash = createHash("sha256");
  const labels: Record<"train" | "held", Map<string, number>> = {
    train: new Map(),
    held: new Map(),
  };
  const counts: Record<Part, number> = { train: 0, valid: 0, test: 0 };
  const [learned, all] = [new RowDigests(), new RowDigests()];
  makeDirectory(into);
  using copies = new Copies(into);
  for (const file of files) {
    for await (const row of rowsOf(file.path, file.part, columns)) {
      const part = holdsOut(row) ? "valid" : row.part;
      copies.write(part, row.line);
      hash.update(`${part} ${row.line}\n`);
      counts[part]++;
      all.add(row.line);
      if (part === "train") learned.add(row.line);
      if (row.label === undefined) continue;
      const seen = labels[part === "train" ? "train" : "held"];
      seen.set(row.label, (seen.get(row.label) ?? 0) + 1);
    }
  }
  if (split && counts.valid === 0) throw nothingHeldOut(files);
  if (counts.train === 0) {
    throw new BadInputError(`${from} has rows to evaluate on only, and none to learn from`);
  }
  copies.sync();
  return {
    digest: `sha256:${hash.digest("hex")}`,
    rows: counts.train,
    heldOut: counts.valid + counts.test,
    guessLoss: guessLoss(labels.train, labels.held),
    learned: learned.sorted(),
    all: all.sorted(),
  };
}

type Files = readonly { readonly path: string; readonly part: Part }[];

/**
 * Chooses rows to hold out: the requested share, at least one prompt, and never all. No row is held out
 * from a class that would have none left to learn from.
 */
async function splitBy(
  files: Files,
  share: number,
  columns?: ColumnNames,
): Promise<(row: CopiedRow) => boolean> {
  let [least, most] = [Infinity, -Infinity];
  /** The row of each class that is held out last. */
  const last = new Map<string, number>();
  for (const { path, part } of files) {
    for await (const { group, label } of rowsOf(path, part, columns)) {
      const fraction = fractionOf(group);
      [least, most] = [Math.min(least, fraction), Math.max(most, fraction)];
      if (label !== undefined) last.set(label, Math.max(last.get(label) ?? 0, fraction));
    }
  }
  if (!(least < most)) throw nothingHeldOut(files);
  const border = most < share ? least : Math.max(least, share);
  return ({ group, label }) =>
    fractionOf(group) <= border && (label === undefined || last.get(label)! > border);
}

function nothingHeldOut(files: Files): BadInputError {
  return new BadInputError(
    `${files.map(({ path }) => basename(path)).join(", ")}: cannot hold rows out to evaluate on: ` +
      "all have one prompt, or a class of their own: add more, or a valid.jsonl",
  );
}

/** Mean −log of each held-out class's share of the training rows, with every count increased by one. */
function guessLoss(
  train: ReadonlyMap<string, number>,
  held: ReadonlyMap<string, number>,
): number | undefined {
  const classes = new Set([...train.keys(), ...held.keys()]);
  const [total, count] = [train, held].map((map) => map.values().reduce((a, b) => a + b, 0));
  if (count === 0) return undefined;
  let sum = 0;
  for (const [label, times] of held) {
    sum -= times * Math.log(((train.get(label) ?? 0) + 1) / (total + classes.size));
  }
  return sum / count;
}

/** The files of a copy, created when needed. */
class Copies implements Disposable {
  readonly #files = new Map<Part, Deno.FsFile>();
  readonly #encoder = new TextEncoder();

  constructor(readonly folder: string) {}

  write(part: Part, line: string): void {
    this.#attempt(() => {
      let file = this.#files.get(part);
      if (file === undefined) {
        file = Deno.openSync(join(this.folder, `${part}.jsonl`), {
          write: true,
          create: true,
          truncate: true,
        });
        this.#files.set(part, file);
      }
      const bytes = this.#encoder.encode(`${line}\n`);
      for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
    });
  }

  sync(): void {
    this.#attempt(() => {
      for (const file of this.#files.values()) file.syncSync();
      using directory = Deno.openSync(this.folder, { read: true });
      directory.syncSync();
    });
  }

  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      const message = `Cannot write ${this.folder}: ${(error as Error).message}`;
      throw new StorageError(message, { cause: error });
    }
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file.close();
  }
}
