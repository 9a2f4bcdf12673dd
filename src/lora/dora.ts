/**
 * DoRA: the magnitude m of each row of a weight is trained beside its direction,
 * W' = m ∘ (W + s·B·A) / ‖W + s·B·A‖, with A [rank, in], B [out, rank] and m [out]. m starts at ‖W‖, and no
 * gradient passes through the norm.
 *
 * With g = m / ‖W + s·B·A‖ this is W' = g ∘ W + s·(g ∘ B)·A: LoRA beside a weight whose rows are scaled. A
 * finished adapter's g is computed once, from the stored weight; while it trains, the graph computes the
 * norm of row o without a matrix of W's size, as ‖w‖² + 2s·b·(A·w) + s²·b·(A·Aᵀ)·b, where A·w are products
 * of the layer with A's rows.
 *
 * Source: Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation" (arXiv:2402.09353), section 4.3 for the
 * gradient, and PEFT for names and initial values. Dropout drops inputs of A alone, as in the paper's own
 * code; PEFT drops those of W too in layers with DoRA.
 */
import { stopGradientNode } from "../graph/stop_gradient.ts";
import { float32, int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import { ONNX_TYPE } from "../graph/dtype.ts";
import { int } from "../graph/attributes.ts";
import { readValues, slabs } from "../quant/dequantize.ts";
import { Scratch } from "../quant/scratch.ts";
import type { GraphIndex } from "./graph_index.ts";
import type { LinearForm } from "./linear_form.ts";
import type { LoraWeights } from "./lora_weights.ts";
import { type AdaptedProduct, callScope, type Op, opsAfter, scaleOf } from "./low_rank_parts.ts";
import { ownProduct, type Place } from "./own_product.ts";
import { storedMatrix } from "./stored_matrix.ts";
import type { LoraSite } from "./targets.ts";

/** Least squared norm of a row: one of zeros has no direction, and must not divide by zero. */
const LEAST_SQUARE = 1e-12;

/** ‖W + s·B·A‖² of each row of a module, [out]; without weights ‖W‖². */
function squaredNorms(
  index: GraphIndex,
  { module, scale, rank }: Pick<LoraSite, "module" | "scale" | "rank">,
  weights?: LoraWeights,
): Float32Array {
  const { slice, outFeatures, inFeatures } = module;
  const first = slice?.offset ?? 0;
  const matrix = storedMatrix(index, module);
  const scratch = new Scratch();
  const [a, b] = weights === undefined ? [] : [toNumbers(weights.a), toNumbers(weights.b)];
  const row = new Float64Array(inFeatures);
  const squares = new Float32Array(outFeatures);
  for (const [from, to] of slabs(matrix)) {
    if (to <= first || from >= first + outFeatures) continue;
    const values = readValues(matrix, from, to, scratch);
    for (let n = Math.max(from, first); n < Math.min(to, first + outFeatures); n++) {
      row.set(values.subarray((n - from) * inFeatures, (n - from + 1) * inFeatures));
      if (a !== undefined && b !== undefined) {
        for (let r = 0; r < rank; r++) {
          const factor = scale * b[(n - first) * rank + r];
          if (factor === 0) continue;
          for (let k = 0; k < inFeatures; k++) row[k] += factor * a[r * inFeatures + k];
        }
      }
      let sum = 0;
      for (let k = 0; k < inFeatures; k++) sum += row[k] * row[k];
      squares[n - first] = sum;
    }
  }
  return squares;
}

/** Norms as the graph computes them from squares: in float32. */
const normOf = (square: number) => Math.fround(Math.sqrt(Math.max(square, LEAST_SQUARE)));

/**
 * The matrices of sites with magnitudes that leave the weights as they are.
 *
 * @param subtracted whether B·A is subtracted where training starts; default false
 */
export function withMagnitudes(
  index: GraphIndex,
  sites: readonly LoraSite[],
  adapters: ReadonlyMap<string, LoraWeights>,
  { subtracted = false } = {},
): ReadonlyMap<string, LoraWeights> {
  const found = new Map(adapters);
  for (const site of sites) {
    const { path, outFeatures } = site.module;
    const weights = adapters.get(path)!;
    const norms = squaredNorms(index, site, subtracted ? undefined : weights).map(normOf);
    found.set(path, { ...weights, magnitude: float32([outFeatures], norms) });
  }
  return found;
}

/**
 * Finished DoRA as LoRA beside a weight whose rows are scaled; other adapters as they are.
 *
 * @param index of the base
 */
export function withRowFactors(
  index: GraphIndex,
  sites: readonly LoraSite[],
  adapters: ReadonlyMap<string, LoraWeights>,
): ReadonlyMap<string, LoraWeights> {
  const found = new Map(adapters);
  for (const site of sites) {
    const { path } = site.module;
    const weights = adapters.get(path);
    if (weights?.magnitude === undefined) continue;
    found.set(path, asRowFactors(index, site, weights, weights.magnitude));
  }
  return found;
}

function asRowFactors(
  index: GraphIndex,
  site: LoraSite,
  { a, b, ...weights }: LoraWeights,
  magnitude: Tensor,
): LoraWeights {
  const squares = squaredNorms(index, site, { a, b, ...weights });
  const [out, rank] = b.dims;
  const factors = Float32Array.from(toNumbers(magnitude), (m, n) => m / normOf(squares[n]));
  const scaled = Float32Array.from(
    toNumbers(b),
    (value, i) => value * factors[Math.floor(i / rank)],
  );
  return { a, b: float32([out, rank], scaled), rowFactors: float32([out], factors) };
}

/**
 * Emits g of a product's outputs, [total], from A, B and the magnitudes; 1 where a slice has none.
 *
 * @param product with a magnitude at one of its layers
 * @param a of all layers [ranks, in]
 * @param b of the whole product [total, ranks]
 */
export function emitRowFactors(
  product: AdaptedProduct,
  place: Place,
  call: LinearForm,
  [a, b]: readonly [a: string, b: string],
): string {
  const { edit, index, group } = product;
  const op = opsAfter(place, place.anchor);
  const { scope } = place;
  const cast = (value: string, to: "float32" | typeof call.dtype, name: string) =>
    call.dtype === "float32" ? value : op("Cast", [value], name, { to: int(ONNX_TYPE[to]) });
  const constant = (name: string, value: number) =>
    edit.shared(`dora.${name}`, () => float32([], [value]));
  const transpose = (value: string, name: string) =>
    op("Transpose", [value], name, { perm: { kind: "ints", value: [1, 0] } });
  const crossed = cast(
    ownProduct(place, call, cast(a, call.dtype, "rows_cast")),
    "float32",
    "crossed",
  );
  const scaled = op("Mul", [b, edit.initializer(`${scope}.norm_scale`, scaleOf(group))], "norm_up");
  const gram = op("MatMul", [a, transpose(a, "norm_down_T")], "gram");
  const change = op("Add", [
    op("Mul", [crossed, constant("two", 2)], "crossed_twice"),
    op("MatMul", [scaled, gram], "squared_change"),
  ], "square_change");
  const ranks = group.reduce((sum, { rank }) => sum + rank, 0);
  const ones = edit.shared(`dora.column.${ranks}`, () => float32([ranks, 1], Array(ranks).fill(1)));
  const sums = op("MatMul", [op("Mul", [scaled, change], "change_parts"), ones], "change_sums");
  const flat = edit.shared("dora.flat", () => int64([1], [-1]));
  const squares = edit.shared(
    `${callScope(group[0].module, 0)}.lora.weight_squares`,
    () => ofWhole(group, (site) => squaredNorms(index, site)),
  );
  const total = op("Add", [squares, op("Reshape", [sums, flat], "change")], "squares");
  const norm = op(
    "Sqrt",
    [op("Max", [total, constant("least", LEAST_SQUARE)], "positive")],
    "norm",
  );
  const fixed = edit.name(`${scope}.norm_fixed`);
  edit.insert(place.anchor, stopGradientNode(norm, fixed));
  return op("Div", [wholeMagnitude(product, op), fixed], "row_factors");
}

/** The magnitudes of a product's layers beside each other, [total]; 1 where a slice has none. */
function wholeMagnitude({ edit, group, declared }: AdaptedProduct, op: Op): string {
  const { slice, outFeatures } = group[0].module;
  const total = slice?.total ?? outFeatures;
  const ones = (count: number) =>
    edit.shared(`dora.ones.${count}`, () => float32([count], Array(count).fill(1)));
  const byOffset = group.map(({ module }, i) => ({
    offset: module.slice?.offset ?? 0,
    size: module.outFeatures,
    magnitude: declared[i].magnitude!,
  })).sort((one, other) => one.offset - other.offset);
  const parts: string[] = [];
  let at = 0;
  for (const { offset, size, magnitude } of byOffset) {
    if (offset > at) parts.push(ones(offset - at));
    parts.push(magnitude);
    at = offset + size;
  }
  if (at < total) parts.push(ones(total - at));
  return parts.length === 1 ? parts[0] : op("Concat", parts, "magnitudes", { axis: int(0) });
}

/** Constants of a product's outputs, [total], from those of its layers; 1 elsewhere. */
export function ofWhole(
  group: readonly LoraSite[],
  of: (site: LoraSite, i: number) => ArrayLike<number> | undefined,
): Tensor {
  const { slice, outFeatures } = group[0].module;
  const values = new Float32Array(slice?.total ?? outFeatures).fill(1);
  group.forEach((site, i) => {
    const own = of(site, i);
    if (own !== undefined) values.set(own, site.module.slice?.offset ?? 0);
  });
  return float32([values.length], values);
}
