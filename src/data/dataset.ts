/** A data set on disk: its shape, and an index of the rows' positions; rows are read when needed. */
import { createHash } from "node:crypto";
import { BadInputError } from "../errors.ts";
import { Column } from "./column.ts";
import { parseCsvRecord, separatorOf } from "./csv.ts";
import { describe, type JsonObject, parseJsonObject } from "./json.ts";
import { hash53 } from "./random.ts";
import { decodeUtf8, type RawRecord, records } from "./records.ts";
import { checkCharacters, rowCharacters } from "./row_size.ts";
import {
  type ColumnNames,
  findShape,
  parseRow,
  type Row,
  type RowKind,
  type RowShape,
  type Task,
} from "./rows.ts";
import type { RandomAccess } from "./source.ts";

/** How the rows of a file are read. */
export interface DatasetOptions {
  /** Columns to use instead of the detected ones. */
  readonly columns?: ColumnNames;
  /** The rows' kind, instead of the detected one. */
  readonly kind?: RowKind;
  /** Task that the rows are for, if detection would choose another kind. */
  readonly task?: Task;
  /** Longest row accepted; default {@linkcode MAX_ROW_BYTES}. */
  readonly maxRowBytes?: number;
}

/** Longest row accepted by default: some four million tokens. */
export const MAX_ROW_BYTES = 16 << 20;

/** A row with its place in the file. */
export interface PlacedRow {
  /** Position in the file, from 0. */
  readonly index: number;
  /** The parsed row. */
  readonly row: Row;
  /** `file:line`, for messages. */
  readonly place: string;
}

/** Converts a file's records to fields. */
interface Layout {
  readonly shape: RowShape;
  fields(record: RawRecord, place: string): JsonObject;
}

/** The rows of a file: their shape, and the position of each. */
export class Dataset {
  readonly #offsets = new Column(Float64Array);
  readonly #lengths = new Column(Uint32Array);
  readonly #lines = new Column(Uint32Array);
  readonly #groups = new Column(Float64Array);
  readonly #labels = new Set<string>();

  readonly #layout: Layout;

  private constructor(
    /** The file. */
    readonly source: RandomAccess,
    layout: Layout,
    /** Longest row accepted. */
    readonly maxRowBytes: number,
  ) {
    this.#layout = layout;
  }

  /**
   * Reads the file once: finds its shape, checks every row, and records the position of each.
   *
   * @throws {BadInputError} naming file and line, for anything that cannot be read as rows of one shape
   * @throws {StorageError} if the file cannot be read
   */
  static async open(source: RandomAccess, options: DatasetOptions = {}): Promise<Dataset> {
    const maxRowBytes = options.maxRowBytes ?? MAX_ROW_BYTES;
    const dialect = await detectDialect(source, maxRowBytes);
    let dataset: Dataset | undefined;
    let header: readonly string[] | undefined;
    const hash = createHash("sha256");
    for await (const record of records(source, { ...dialect, maxBytes: maxRowBytes })) {
      const place = `${source.name}:${record.line}`;
      hash.update(record.bytes).update("\n");
      if (dialect.quoted && header === undefined) {
        header = readHeader(record, dialect.separatorText, place);
        continue;
      }
      dataset ??= new Dataset(
        source,
        layoutOf(record, header, dialect, place, options),
        maxRowBytes,
      );
      dataset.#add(record);
    }
    if (dataset === undefined) throw new BadInputError(`${source.name}: there are no rows`);
    dataset.#digest = `sha256:${hash.digest("hex")}`;
    return dataset;
  }

  #digest = "";

  /** SHA-256 of heading and rows, each followed by a line feed: a resume compares it. */
  get digest(): string {
    return this.#digest;
  }

  /** Kind of all rows. */
  get kind(): RowKind {
    return this.#layout.shape.kind;
  }

  /** Number of rows. */
  get count(): number {
    return this.#offsets.length;
  }

  /** Distinct class names, in order of appearance; none for other kinds. */
  get labels(): ReadonlySet<string> {
    return this.#labels;
  }

  /** `file:line` of a row. */
  place(index: number): string {
    return `${this.source.name}:${this.#lines.at(index)}`;
  }

  /**
   * A hash of the row's prompt (or text): equal for equal prompts, different for others except by
   * accident.
   */
  promptGroup(index: number): number {
    return this.#groups.at(index);
  }

  /** Reads one row. */
  async row(index: number): Promise<Row> {
    const offset = this.#offsets.at(index);
    const bytes = await this.source.read(offset, this.#lengths.at(index));
    return this.parse({ offset, line: this.#lines.at(index), bytes }).row;
  }

  /** Yields all rows, or an ascending choice of them, in the file's order; reads ahead in large pieces. */
  async *rows(indices?: ArrayLike<number>): AsyncGenerator<PlacedRow> {
    const count = indices?.length ?? this.count;
    for (let first = 0; first < count;) {
      const at = (i: number) => indices === undefined ? i : indices[i];
      const begin = this.#offsets.at(at(first));
      let last = first;
      while (last + 1 < count && this.#end(at(last + 1)) - begin <= READ_BYTES) last++;
      const bytes = await this.source.read(begin, this.#end(at(last)) - begin);
      for (; first <= last; first++) {
        const index = at(first);
        const offset = this.#offsets.at(index);
        const slice = bytes.subarray(offset - begin, this.#end(index) - begin);
        const { row } = this.parse({ offset, line: this.#lines.at(index), bytes: slice });
        yield { index, row, place: this.place(index) };
      }
    }
  }

  #end(index: number): number {
    return this.#offsets.at(index) + this.#lengths.at(index);
  }

  /**
   * Reads a record as a row of this data set's shape.
   *
   * @param place how messages name it; default `file:line`
   * @throws {BadInputError} naming the place, for one of another shape
   */
  parse(
    record: RawRecord,
    place = `${this.source.name}:${record.line}`,
  ): { readonly fields: JsonObject; readonly row: Row } {
    const fields = this.#layout.fields(record, place);
    return { fields, row: parseRow(fields, this.#layout.shape, place) };
  }

  #add(record: RawRecord): void {
    const { row } = this.parse(record);
    checkCharacters(rowCharacters(row), `${this.source.name}:${record.line}`);
    this.#offsets.push(record.offset);
    this.#lengths.push(record.bytes.length);
    this.#lines.push(record.line);
    this.#groups.push(hash53(promptOf(row)));
    if (row.kind === "label") this.#labels.add(row.label);
  }
}

const READ_BYTES = 1 << 20;

/** The part of a row that must not be on both sides of a split: everything except the targets. */
function promptOf(row: Row): string {
  switch (row.kind) {
    case "messages": {
      const target = row.messages.findIndex((message, i) =>
        i >= row.firstTarget && message.role === "assistant"
      );
      const before = row.messages.slice(0, target < 0 ? undefined : target);
      return JSON.stringify(before.map(({ role, content }) => [role, content]));
    }
    case "completion":
      return row.prompt;
    default:
      return row.text;
  }
}

interface Dialect {
  readonly quoted: boolean;
  readonly separator?: number;
  readonly separatorText: string;
}

/**
 * Detects JSON lines or separated values: by the file name's extension, otherwise by the first
 * character.
 */
async function detectDialect(source: RandomAccess, maxBytes: number): Promise<Dialect> {
  const json = { quoted: false, separatorText: "" };
  if (/\.(jsonl|ndjson|json)$/i.test(source.name)) return json;
  for await (const { bytes, line } of records(source, { quoted: false, maxBytes })) {
    const text = decodeUtf8(bytes, `${source.name}:${line}`);
    if (/^\s*\{/.test(text)) return json;
    const separatorText = separatorOf(text);
    return { quoted: true, separator: separatorText.charCodeAt(0), separatorText };
  }
  return json;
}

function readHeader(record: RawRecord, separator: string, place: string): string[] {
  const names = parseCsvRecord(decodeUtf8(record.bytes, place), separator, place)
    .map((name) => name.trim());
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) {
      throw new BadInputError(`${place}: the heading ${describe(name)} is there twice`);
    }
    seen.add(name);
  }
  if (seen.has("__proto__")) {
    throw new BadInputError(`${place}: "__proto__" is not allowed as a heading`);
  }
  return names;
}

function layoutOf(
  first: RawRecord,
  header: readonly string[] | undefined,
  { separatorText }: Dialect,
  place: string,
  options: DatasetOptions,
): Layout {
  if (header === undefined) {
    const json = (record: RawRecord, at: string) =>
      parseJsonObject(decodeUtf8(record.bytes, at), at);
    const names = Object.keys(json(first, place));
    const { columns = {} } = options;
    return { shape: findShape(names, place, { ...options, columns }), fields: json };
  }
  const shape = findShape(header, `${place} (its heading is the first line)`, options);
  const wanted = new Set(Object.values(shape.columns));
  const used = [...header.entries()].filter(([, name]) => wanted.has(name));
  const fields = (record: RawRecord, at: string) => {
    const values = parseCsvRecord(decodeUtf8(record.bytes, at), separatorText, at);
    if (values.length !== header.length) {
      throw new BadInputError(
        `${at}: a row must have ${header.length} fields like the heading: current value is ` +
          `${values.length} (fields with a "${separatorText}" or a line end go in double quotes)`,
      );
    }
    return Object.fromEntries(used.map(([i, name]) => [name, values[i]]));
  };
  return { shape, fields };
}
