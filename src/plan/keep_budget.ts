/** How many segments keep activations: as many as a budget of bytes has room for. */
import { plus } from "../graph/extent_arithmetic.ts";
import { BoundSizes, type Extent, sizesOf, type ValueOf } from "../graph/size.ts";
import type { BatchSizes } from "./options.ts";
import { sizesByName } from "./step_sizes.ts";

/**
 * Segments ask for room in turn, and the first that finds none is the last to ask.
 *
 * Packed rows count as the next half octave of them: a plan then serves all batches with about as many
 * tokens, and is within its budget at each.
 */
export class KeepBudget {
  readonly #bytes: number;
  readonly #batch: BatchSizes<Extent>;
  #taken: Extent = 0;
  #isSpent: boolean;

  /** @param bytes that may be kept; 0 keeps nothing */
  constructor(bytes: number, batch: BatchSizes<Extent>) {
    this.#bytes = bytes;
    this.#batch = batch;
    this.#isSpent = bytes <= 0;
  }

  /** Whether nothing more is kept. */
  get isSpent(): boolean {
    return this.#isSpent;
  }

  /** Whether the budget has ended before the segments, so that fewer rows would keep more. */
  get keepsSome(): boolean {
    return this.#isSpent && this.#bytes > 0;
  }

  /** Takes room for some bytes; false where that is not left. */
  take(bytes: Extent): boolean {
    const taken = plus(this.#taken, bytes);
    const fits = this.#fits(taken);
    if (fits) this.#taken = taken;
    else this.#isSpent = true;
    return fits;
  }

  #fits(taken: Extent): boolean {
    const ask = (valueOf: ValueOf) => atMostRows(this.#batch, valueOf).of(taken) <= this.#bytes;
    const sizes = sizesOf([taken]);
    return sizes === undefined
      ? ask((extent) => extent as number)
      : sizes.decide(`${taken} <= ${this.#bytes} at most rows`, ask);
  }
}

/** The sizes of the batches that count as one, with the most packed rows. */
function atMostRows(batch: BatchSizes<Extent>, valueOf: ValueOf): BoundSizes {
  const values = new Map<string, number>();
  for (const [name, extent] of sizesByName(batch)) values.set(name, valueOf(extent));
  const rows = values.get("rows");
  if (rows !== undefined) {
    values.set("rows", Math.min(halfOctave(rows), valueOf(batch.batch) * valueOf(batch.length)));
  }
  return new BoundSizes(values);
}

/** The next power of two, or one and a half times one. */
function halfOctave(rows: number): number {
  const octave = 2 ** Math.ceil(Math.log2(rows));
  return rows <= 0.75 * octave ? 0.75 * octave : octave;
}
