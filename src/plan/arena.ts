/**
 * Simulates ONNX Runtime's shared arena without allocating: which pages its blocks would have touched.
 *
 * The runtime takes regions from the system, each twice as large as the one before. It hands out the smallest
 * free block that fits, split where at least as much again would remain; free neighbours are merged. A page
 * counts from the first write to it, and stays. Source: onnxruntime/core/framework/bfc_arena.h and .cc, with
 * the defaults, which `ffi/environment.ts` leaves unchanged.
 */

/** Blocks are multiples of this in size and in address. */
const GRANULE_BYTES = 256;
/** Size of the first region. */
const FIRST_REGION_BYTES = 2 ** 20;
/** Regions double up to this size; a larger one is exactly as large as needed. */
const LARGEST_REGION_BYTES = 2 ** 30;
/** A block is also split where the remainder reaches this size. */
const MOST_DEAD_BYTES = 128 * 2 ** 20;
/** The system hands out memory in units of this size. */
const PAGE_BYTES = 4096;

/** A range of a region, free or in use. */
interface Chunk {
  readonly region: Region;
  readonly start: number;
  bytes: number;
  free: boolean;
  previous?: Chunk;
  next?: Chunk;
}

interface Region {
  /** One entry per page: 1 where something has been written to it. */
  readonly touched: Uint8Array;
}

/** A block in use, to be given back with {@linkcode Arena.release}. */
export type Block = Chunk;

export class Arena {
  /** Free chunks by size, then region and address: the first that is large enough is the best fit. */
  readonly #free: Chunk[] = [];
  readonly #regions: Region[] = [];
  #regionBytes = FIRST_REGION_BYTES;
  #touchedPages = 0;
  #usedBytes = 0;

  /** Bytes of the pages that have been written to so far. */
  get touchedBytes(): number {
    return this.#touchedPages * PAGE_BYTES;
  }

  /** Bytes taken from the system, whether or not anything has been written to them. */
  get regionBytes(): number {
    return this.#regions.reduce((sum, { touched }) => sum + touched.length * PAGE_BYTES, 0);
  }

  /** Bytes of the blocks in use. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Takes a block of at least `bytes` bytes, all of which will be written. */
  take(bytes: number): Block {
    const rounded = Math.max(1, Math.ceil(bytes / GRANULE_BYTES)) * GRANULE_BYTES;
    let at = this.#firstFitting(rounded);
    if (at === this.#free.length) {
      this.#extend(rounded);
      at = this.#firstFitting(rounded);
    }
    const [chunk] = this.#free.splice(at, 1);
    const rest = chunk.bytes - rounded;
    if (rest >= rounded || rest >= MOST_DEAD_BYTES) this.#split(chunk, rounded);
    chunk.free = false;
    this.#usedBytes += chunk.bytes;
    this.#touch(chunk, bytes);
    return chunk;
  }

  /** Gives a block back and merges it with free neighbours. */
  release(chunk: Block): void {
    if (chunk.free) throw new RangeError("A block was released twice");
    this.#usedBytes -= chunk.bytes;
    chunk.free = true;
    const { next, previous } = chunk;
    if (next?.free) {
      this.#remove(next);
      merge(chunk, next);
    }
    let whole = chunk;
    if (previous?.free) {
      this.#remove(previous);
      merge(previous, chunk);
      whole = previous;
    }
    this.#insert(whole);
  }

  #extend(bytes: number): void {
    let size = bytes;
    if (bytes <= LARGEST_REGION_BYTES) {
      const before = this.#regionBytes;
      while (this.#regionBytes < bytes) this.#regionBytes *= 2;
      size = this.#regionBytes;
      if (this.#regionBytes === before) {
        this.#regionBytes = Math.min(2 * before, LARGEST_REGION_BYTES);
      }
    }
    const region = { touched: new Uint8Array(Math.ceil(size / PAGE_BYTES)) };
    this.#regions.push(region);
    this.#insert({ region, start: 0, bytes: size, free: true });
  }

  #split(chunk: Chunk, bytes: number): void {
    const { region, start, next } = chunk;
    const rest: Chunk = {
      region,
      start: start + bytes,
      bytes: chunk.bytes - bytes,
      free: true,
      previous: chunk,
      next,
    };
    if (next !== undefined) next.previous = rest;
    chunk.next = rest;
    chunk.bytes = bytes;
    this.#insert(rest);
  }

  #touch({ region, start }: Chunk, bytes: number): void {
    const end = Math.ceil((start + bytes) / PAGE_BYTES);
    for (let page = Math.floor(start / PAGE_BYTES); page < end; page++) {
      if (region.touched[page] === 1) continue;
      region.touched[page] = 1;
      this.#touchedPages++;
    }
  }

  /** Index of the smallest free chunk of at least `bytes`. */
  #firstFitting(bytes: number): number {
    return lowerBound(this.#free, (chunk) => chunk.bytes < bytes);
  }

  #place(chunk: Chunk): number {
    const region = this.#regions.indexOf(chunk.region);
    return lowerBound(this.#free, (other) => {
      if (other.bytes !== chunk.bytes) return other.bytes < chunk.bytes;
      const otherRegion = this.#regions.indexOf(other.region);
      return otherRegion === region ? other.start < chunk.start : otherRegion < region;
    });
  }

  #insert(chunk: Chunk): void {
    this.#free.splice(this.#place(chunk), 0, chunk);
  }

  #remove(chunk: Chunk): void {
    this.#free.splice(this.#place(chunk), 1);
  }
}

/** Appends `second`, which follows directly after `first`, to it. */
function merge(first: Chunk, second: Chunk): void {
  first.bytes += second.bytes;
  first.next = second.next;
  if (second.next !== undefined) second.next.previous = first;
}

/** Index of the first element of a sorted list for which `before` is false. */
function lowerBound<T>(sorted: readonly T[], before: (element: T) => boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (before(sorted[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}
