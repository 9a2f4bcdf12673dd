/** Merges the changes of one stored matrix and measures the result. */
import { equals } from "@std/bytes/equals";
import type { DataType } from "../../graph/dtype.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { roundCompensated } from "../../quant/compensated.ts";
import { dequantizeSlab, readValues, slabs } from "../../quant/dequantize.ts";
import { roundToNearest } from "../../quant/nearest.ts";
import { roundToFloat } from "../../quant/numbers.ts";
import { ScaleFitter } from "../../quant/scale_fitter.ts";
import { Scratch } from "../../quant/scratch.ts";
import type { CodeSlab, MatrixTensors, StoredMatrix } from "../../quant/types.ts";
import { Weigher } from "../../quant/weigher.ts";
import { addChanges, type RowChange } from "./delta.ts";
import { withScaleChanges } from "./scale_changes.ts";
import { Sums } from "./sums.ts";

/** The result of a merge for one matrix. */
export interface MatrixReport {
  /** Paths of the modules in it. */
  readonly paths: readonly string[];
  /** The weight's initializer in the base. */
  readonly weight: string;
  /** Outputs of the layer. */
  readonly rows: number;
  /** Inputs of the layer. */
  readonly cols: number;
  /** Bits of one stored weight after the merge. */
  readonly bits: number;
  /** Frobenius norm of ΔW. */
  readonly deltaNorm: number;
  /** ‖ΔW‖/‖W‖ over the whole matrix. */
  readonly relativeDelta: number;
  /** ‖Ŵ − (W + ΔW)‖/‖ΔW‖: 1 means as wrong as not merging; 0 if ΔW is zero. */
  readonly requantisationError: number;
  /**
   * ‖X·(Ŵ − W − ΔW)ᵀ‖/‖X·ΔWᵀ‖ over the inputs X of the training data; absent if none were given.
   */
  readonly outputError?: number;
  /** Share of the stored codes (or floats) that differ from the base's. */
  readonly changedCodes: number;
  /** Whether any stored byte differs from the base's. */
  readonly changed: boolean;
}

/**
 * Rounding of W + ΔW to codes and scales: to nearest; or with errors weighted by the layer's inputs, by
 * compensation column by column or by fitted scales alone.
 */
export type Rounding = "nearest" | LayerInputs;

/** Inputs of a layer, prepared for compensating rounding errors or for fitting scales. */
export type LayerInputs = Weigher | ScaleFitter;

/**
 * W + ΔW in a matrix's own layout, computed slab by slab.
 *
 * @param measure inputs for reporting the output error, if they do not guide the rounding
 * @param scratch holds the tensors until the next call with it
 */
export async function mergeMatrix(
  matrix: StoredMatrix,
  changes: readonly RowChange[],
  labels: { readonly weight: string; readonly bits: number },
  how: Rounding = "nearest",
  measure: LayerInputs | undefined = typeof how === "object" ? how : undefined,
  scratch = new Scratch(),
): Promise<{ readonly tensors: MatrixTensors; readonly report: MatrixReport }> {
  const sums = new Sums(matrix.cols, measure instanceof Weigher ? measure : undefined);
  const tensors = matrix.kind === "float"
    ? await mergeFloats(matrix, changes, sums, scratch)
    : await mergeCodes(matrix, changes, sums, how, scratch);
  return {
    tensors,
    report: {
      paths: changes.map((change) => change.path),
      weight: labels.weight,
      rows: matrix.rows,
      cols: matrix.cols,
      bits: labels.bits,
      ...sums.report(matrix.rows * matrix.cols),
      changed: differs(matrix.tensors, tensors),
    },
  };
}

async function mergeFloats(
  matrix: StoredMatrix & { kind: "float" },
  changes: readonly RowChange[],
  sums: Sums,
  scratch: Scratch,
): Promise<MatrixTensors> {
  const editor = matrix.edit(scratch);
  const { dtype } = matrix.tensors.codes;
  for (const [from, to] of slabs(matrix, scratch.slabBytes)) {
    const base = readValues(matrix, from, to, scratch);
    const target = scratch.float32("target", base.length);
    target.set(base);
    const changed = addChanges(target, from, to, matrix.cols, changes);
    editor.write({ from, rows: to - from, cols: matrix.cols, values: target });
    const stored = rounded(dtype, target, scratch);
    await sums.add(base, target, stored, changed);
    for (let i = 0; i < base.length; i++) if (stored[i] !== base[i]) sums.changedCodes++;
  }
  return editor.tensors();
}

async function mergeCodes(
  matrix: StoredMatrix & { kind: "quantised" },
  changes: readonly RowChange[],
  sums: Sums,
  how: Rounding,
  scratch: Scratch,
): Promise<MatrixTensors> {
  const editor = matrix.edit(scratch);
  for (const [from, to] of slabs(matrix, scratch.slabBytes)) {
    const before = matrix.read(from, to, scratch);
    const slab = withScaleChanges(matrix, before, changes, scratch);
    const floats = (name: string) => scratch.float32(name, slab.codes.length);
    const base = dequantizeSlab(matrix.grid, before, floats("values"));
    const target = dequantizeSlab(matrix.grid, slab, floats("target"));
    const rescaled = target.some((value, i) => value !== base[i]);
    const changed = addChanges(target, from, to, matrix.cols, changes);
    const isChanged = (row: number) => changed[row];
    let rounded: CodeSlab = slab;
    if (changed.includes(true)) {
      if (how === "nearest") {
        rounded = roundToNearest(matrix, slab, target, isChanged, scratch);
      } else if (how instanceof ScaleFitter) {
        const fitted = await how.fit(matrix, slab, target, isChanged);
        rounded = fitted.slab;
        sums.addOutputs(fitted.wanted, fitted.missing);
      } else {
        rounded = await roundCompensated(matrix, slab, target, how, isChanged);
      }
    }
    if (rescaled || changed.includes(true)) editor.write(rounded);
    const stored = dequantizeSlab(matrix.grid, rounded, floats("stored"));
    await sums.add(base, target, stored, rescaled ? changed.map(() => true) : changed);
    for (let i = 0; i < slab.codes.length; i++) {
      if (rounded.codes[i] !== before.codes[i]) sums.changedCodes++;
    }
  }
  return editor.tensors();
}

/** Values as a float type stores them. */
export function rounded(dtype: DataType, values: Float32Array, scratch: Scratch): Float32Array {
  if (dtype === "float32") return values;
  const out = scratch.float32("stored", values.length);
  for (let i = 0; i < out.length; i++) out[i] = roundToFloat(dtype, values[i]);
  return out;
}

function differs(before: MatrixTensors, after: MatrixTensors): boolean {
  return (["codes", "scales", "zeroPoints"] as const).some((part) =>
    !sameBytes(before[part], after[part])
  );
}

function sameBytes(a: Tensor | undefined, b: Tensor | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.bytes === b.bytes || equals(a.bytes, b.bytes);
}
