/** Classifying by the nearest class centre: what embeddings are worth before anything is trained. */

/** Learns classes as the mean vectors of their examples; the cosine tells which is nearest. */
export class NearestCentroid {
  readonly #sums: (Float32Array | undefined)[] = [];

  /** Classes seen, from 0 to the largest label. */
  get classes(): number {
    return this.#sums.length;
  }

  /** Adds an example; its vector's length is its weight. */
  add(vector: ArrayLike<number>, label: number): void {
    const sum = this.#sums[label] ??= new Float32Array(vector.length);
    // A sum points where the mean does, and the cosine sees nothing else.
    for (let i = 0; i < sum.length; i++) sum[i] += vector[i];
  }

  /** Cosine of a vector with each class's centre, [classes]; -1 for a class without examples. */
  scores(vector: ArrayLike<number>): Float32Array {
    return Float32Array.from(
      this.#sums,
      (sum) => sum === undefined ? -1 : cosine(sum, vector),
    );
  }
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb);
}
