/** The forms in which a forward call leaves activations for its backward call. */
import { int } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { bitsOf, ONNX_TYPE } from "../graph/dtype.ts";
import { asDims, extentsOf, int64Of } from "../graph/extents.ts";
import { productOf, sumOf, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { castTo } from "../ops/cast.ts";
import { LEAST_SILU } from "../ops/internal/swiglu.ts";
import { emitRowCodes, emitRowScales } from "../ops/internal/rounded_rows.ts";
import { codesName, float16Name, scalesName } from "./names.ts";

/**
 * Unchanged; in float16; or rounded to 8 bits, each row along the last axis with its own scale, as products
 * in the setting `fast` round their inputs.
 */
export type KeptForm = "unchanged" | "float16" | "int8";

/** Kept activations and their forms. */
export type Kept = ReadonlyMap<string, KeptForm>;

/** A tensor that a forward call leaves. */
interface Stored {
  /** Name in the step. */
  readonly name: string;
  readonly known: Known;
}

/** The tensors that represent a value with the facts `known`. */
export function storedAs(value: string, form: KeptForm, known: Known): readonly Stored[] {
  const { dims } = known;
  if (form === "unchanged") return [{ name: value, known }];
  if (form === "float16") return [{ name: float16Name(value), known: { dtype: "float16", dims } }];
  const matrix = asRows(dims);
  return [
    { name: codesName(value), known: { dtype: "int8", dims: asDims(matrix) } },
    { name: scalesName(value), known: { dtype: "float32", dims: asDims([matrix[0]]) } },
  ];
}

/** Emits these tensors; returns names in the builder → names in the step. */
export function emitStored(
  b: GraphBuilder,
  value: string,
  form: KeptForm,
): ReadonlyMap<string, string> {
  if (form === "unchanged") return new Map([[value, value]]);
  if (form === "float16") return new Map([[castTo(b, value, "float16"), float16Name(value)]]);
  const rows = b.reshape(value, asRows(b.shape(value)));
  const scales = emitRowScales(b, rows, leastOf(b, value));
  const codes = emitRowCodes(b, rows, scales, "int8");
  return new Map([[codes, codesName(value)], [scales, scalesName(value)]]);
}

/** A known lower bound of a value. */
function leastOf({ nodes }: GraphBuilder, value: string): number | undefined {
  const producer = nodes.find(({ outputs }) => outputs.includes(value));
  const isSilu = producer?.opType === "SwiGLUAndFactors" && producer.outputs[1] === value;
  return isSilu ? LEAST_SILU : undefined;
}

/** How a value is restored from the tensors that represent it. */
export interface Restoring {
  readonly nodes: readonly Node[];
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Intermediate values. */
  readonly known: ReadonlyMap<string, Known>;
}

/** Restores a value, under its own name, from the tensors that represent it. */
export function restoring(value: string, form: KeptForm, { dtype, dims }: Known): Restoring {
  const node = (
    opType: string,
    inputs: string[],
    attributes: Node["attributes"],
    output = value,
  ) => ({ name: output, opType, domain: "", inputs, outputs: [output], attributes });
  const nothing = { constants: new Map(), known: new Map() };
  if (form === "unchanged") return { nodes: [], ...nothing };
  if (form === "float16") {
    const cast = node("Cast", [float16Name(value)], { to: int(ONNX_TYPE[dtype]) });
    return { nodes: [cast], ...nothing };
  }
  const [rows, shape] = [`${value}.rows`, `${value}.shape`];
  const stored = [codesName(value), scalesName(value)];
  return {
    nodes: [
      node("DequantizeLinear", stored, { axis: int(0) }, rows),
      node("Reshape", [rows, shape], { allowzero: int(1) }),
    ],
    constants: new Map([[shape, int64Of([dims.length], extentsOf(dims))]]),
    known: new Map([[rows, { dtype, dims: asDims(asRows(dims)) }]]),
  };
}

/** Bytes of the tensors that represent a value. */
export function storedBytes(value: string, form: KeptForm, known: Known): Extent {
  return sumOf(
    storedAs(value, form, known).map(({ known: { dtype, dims } }) =>
      times(bitsOf(dtype) / 8, productOf(extentsOf(dims)))
    ),
  );
}

function asRows(dims: readonly Extent[]): readonly [Extent, Extent] {
  const shape = extentsOf(dims);
  return [productOf(shape.slice(0, -1)), shape[shape.length - 1]];
}
