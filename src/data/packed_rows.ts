/** Encoded rows in the form in which the text process returns them. */
import type { EncodeResult } from "./encode.ts";

/** Encoded rows in few arrays: hundreds of small ones take V8 as long to copy as to encode. */
export interface PackedRows {
  readonly ids: Int32Array;
  readonly spans: Int32Array;
  /** For each row: its ids, its spans' numbers, its class or -1, truncated, lastTurnOnly. */
  readonly table: Int32Array;
}

const COLUMNS = 5;

export function packRows(rows: readonly EncodeResult[]): PackedRows {
  const all = (of: (row: EncodeResult) => Int32Array): Int32Array => {
    const numbers = new Int32Array(rows.reduce((sum, row) => sum + of(row).length, 0));
    let at = 0;
    for (const row of rows) {
      numbers.set(of(row), at);
      at += of(row).length;
    }
    return numbers;
  };
  return {
    ids: all(({ ids }) => ids),
    spans: all(({ spans }) => spans),
    table: Int32Array.from(rows.flatMap((row) => [
      row.ids.length,
      row.spans.length,
      row.classId ?? -1,
      Number(row.truncated),
      Number(row.lastTurnOnly),
    ])),
  };
}

export function unpackRows({ ids, spans, table }: PackedRows): EncodeResult[] {
  let [id, span] = [0, 0];
  return Array.from({ length: table.length / COLUMNS }, (_, row) => {
    const [idCount, spanCount, classId, truncated, lastTurnOnly] = table
      .subarray(row * COLUMNS, (row + 1) * COLUMNS);
    return {
      ids: ids.slice(id, id += idCount),
      spans: spans.slice(span, span += spanCount),
      ...classId < 0 ? {} : { classId },
      truncated: truncated === 1,
      lastTurnOnly: lastTurnOnly === 1,
    };
  });
}
