/** How many segments keep activations: as many as fit in a budget of bytes. */
import { plus } from "../graph/extent_arithmetic.ts";
import { BoundSizes, type Extent, sizesOf, type ValueOf } from "../graph/size.ts";
import type { BatchSizes } from "./options.ts";
import { sizesByName } from "./step_sizes.ts";

/**
 * Segments ask for room in turn; after the first request that does not fit, nothing more is kept.
 *
 * Packed rows are rounded up to the next half octave, so that one plan serves all batches with about as many
 * tokens and stays within its budget at each.
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

  /** Whether the budget ran out before the last segment, so that fewer rows would allow more to be kept. */
  get keepsSome(): boolean {
    return this.#isSpent && this.#bytes > 0;
  }

  /** Takes room for some bytes; returns false where there is not enough. */
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

/** Sizes standing for all batches within the half octave, with the most packed rows. */
function atMostRows(batch: BatchSizes<Extent>, valueOf: ValueOf): BoundSizes {
  const values = new Map<string, number>();
  for (const [name, extent] of sizesByName(batch)) values.set(name, valueOf(extent));
  const rows = values.get("rows");
  if (rows !== undefined) {
    values.set("rows", Math.min(halfOctave(rows), valueOf(batch.batch) * valueOf(batch.length)));
  }
  return new BoundSizes(values);
}

/** The next power of two, or 1.5 times a power of two. */
function halfOctave(rows: number): number {
  const octave = 2 ** Math.ceil(Math.log2(rows));
  return rows <= 0.75 * octave ? 0.75 * octave : octave;
}
