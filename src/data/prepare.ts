/** Encodes a data set, with counts of cut and omitted rows. */
import { BadInputError } from "../errors.ts";
import type { Dataset, PlacedRow } from "./dataset.ts";
import { type EncodeOptions, targetCount } from "./encode.ts";
import type { TextProcessor } from "./text.ts";
import { TokenStore } from "./token_store.ts";

/** Counts for the user, with the place of one example each. */
export interface PrepareReport {
  /** Rows that were encoded. */
  readonly rows: number;
  /** Tokens of all of them. */
  readonly tokens: number;
  /** Tokens, or rows of a classifier, that count in the loss. */
  readonly targets: number;
  /** Rows longer than the limit, which were cut. */
  readonly truncated: Noted;
  /** Rows left out because they have no targets (after cutting). */
  readonly leftOut: Noted;
  /** Chats of which only the last turn is learned, because the template rewrites earlier ones. */
  readonly lastTurnOnly: Noted;
}

/** Rows to tell a user about. */
export interface Noted {
  /** How many there are. */
  readonly count: number;
  /** `file:line` of the first. */
  readonly first?: string;
}

export interface PrepareOptions extends EncodeOptions {
  /** Rows to encode, ascending; default all. */
  readonly indices?: ArrayLike<number>;
  /** Store of the encoded rows; default: memory. */
  readonly store?: TokenStore;
  /** Called with the number of encoded rows after every piece of work. */
  readonly onProgress?: (rows: number) => void;
  readonly signal?: AbortSignal;
}

/** Most rows and characters of one call of the text processor. */
const CALL_ROWS = 256;
const CALL_CHARACTERS = 1 << 18;

/**
 * Encodes the rows of a data set, in order.
 *
 * @throws {BadInputError} for a row that cannot be encoded, or if no row has targets
 */
export async function prepareRows(
  dataset: Dataset,
  text: TextProcessor,
  options: PrepareOptions,
): Promise<{ readonly rows: TokenStore; readonly report: PrepareReport }> {
  const { indices, store = new TokenStore(), onProgress, signal, ...encode } = options;
  const notes = { truncated: new Note(), leftOut: new Note(), lastTurnOnly: new Note() };
  let done = 0;
  let tokens = 0;
  let targets = 0;
  for await (const piece of pieces(dataset.rows(indices))) {
    signal?.throwIfAborted();
    const results = await text.encodeRows(piece, encode);
    results.forEach((result, i) => {
      const { place, row } = piece[i];
      const count = row.kind === "label" && row.text.trim() === "" ? 0 : targetCount(result);
      if (result.truncated) notes.truncated.add(place);
      if (count === 0) return notes.leftOut.add(place);
      if (result.lastTurnOnly) notes.lastTurnOnly.add(place);
      store.append(result);
      tokens += result.ids.length;
      targets += count;
    });
    done += piece.length;
    onProgress?.(done);
  }
  if (store.count === 0) {
    throw new BadInputError(
      `${dataset.source.name}: nothing to learn in any of the ${done} rows: they are empty, have ` +
        `no assistant's turn, or are cut before their target at ${encode.maxLength} tokens`,
    );
  }
  return { rows: store, report: { rows: store.count, tokens, targets, ...notes } };
}

class Note implements Noted {
  count = 0;
  first?: string;

  add(place: string): void {
    this.count++;
    this.first ??= place;
  }
}

async function* pieces(rows: AsyncIterable<PlacedRow>): AsyncGenerator<PlacedRow[]> {
  let piece: PlacedRow[] = [];
  let size = 0;
  for await (const placed of rows) {
    piece.push(placed);
    size += charactersOf(placed);
    if (piece.length < CALL_ROWS && size < CALL_CHARACTERS) continue;
    yield piece;
    piece = [];
    size = 0;
  }
  if (piece.length > 0) yield piece;
}

function charactersOf({ row }: PlacedRow): number {
  switch (row.kind) {
    case "messages":
      return row.messages.reduce((sum, { content }) => sum + content.length, 0);
    case "completion":
      return row.prompt.length + row.completion.length;
    default:
      return row.text.length;
  }
}
