/** The products that determine the best scales of many rows, which a runtime computes faster. */

/** Sizes of {@linkcode ScaleProducts}; `cols` is a whole number of groups. */
export interface ScaleProductSize {
  readonly rows: number;
  readonly cols: number;
  /** Columns that a scale covers. */
  readonly groupCols: number;
}

/** For each row its normal matrix, right-hand side and energy; arrays may be longer than that. */
export interface ScaleSums {
  /** Cᵀ·H·C, [groups, groups, rows]. */
  readonly normal: Float32Array<ArrayBuffer>;
  /** Cᵀ·H·e, [groups, rows]. */
  readonly right: Float32Array<ArrayBuffer>;
  /** eᵀ·H·e, [rows]. */
  readonly energies: Float32Array<ArrayBuffer>;
}

/**
 * Fills `out`, where C of a row has a column for each group: its codes without their zero point.
 *
 * @param gram H [cols, cols]
 * @param centred codes without their zero points, [cols, rows]
 * @param errors e, the missing values, [cols, rows]
 */
export type ScaleProducts = (
  gram: Float32Array<ArrayBuffer>,
  centred: Float32Array<ArrayBuffer>,
  errors: Float32Array<ArrayBuffer>,
  size: ScaleProductSize,
  out: ScaleSums,
) => Promise<void>;

/** {@linkcode ScaleProducts} without a runtime. */
export const plainScaleProducts: ScaleProducts = (gram, centred, errors, size, out) => {
  const { rows, cols, groupCols } = size;
  const groups = cols / groupCols;
  const { normal, right, energies } = out;
  normal.fill(0, 0, groups * groups * rows);
  right.fill(0, 0, groups * rows);
  energies.fill(0, 0, rows);
  for (let i = 0; i < cols; i++) {
    const first = Math.floor(i / groupCols);
    for (let j = 0; j < cols; j++) {
      const h = gram[i * cols + j];
      const pair = (first * groups + Math.floor(j / groupCols)) * rows;
      for (let r = 0; r < rows; r++) {
        const code = centred[i * rows + r];
        const error = errors[j * rows + r];
        normal[pair + r] += code * h * centred[j * rows + r];
        right[first * rows + r] += code * h * error;
        energies[r] += errors[i * rows + r] * h * error;
      }
    }
  }
  return Promise.resolve();
};
