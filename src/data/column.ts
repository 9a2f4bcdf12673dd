/** A growing list of numbers in a typed array, so that an index over millions of rows stays small. */

type Numbers = Float64Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

export class Column<T extends Numbers> {
  #values: T;
  #length = 0;

  constructor(readonly make: new (length: number) => T) {
    this.#values = new make(256);
  }

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const grown = new this.make(this.#length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#length++] = value;
  }

  /** The value at an index below {@linkcode length}. */
  at(index: number): number {
    if (index >= 0 && index < this.#length) return this.#values[index];
    throw new RangeError(`Row ${index} is not among the ${this.#length} rows`);
  }
}
