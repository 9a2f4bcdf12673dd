/**
 * Adapters of the scales of quantised weights: s' = s ⊙ (1 + scale·B·A), with unchanged codes.
 *
 * A scale belongs to a row of the weight, or to a block of one: A is [rank, blocks of a row], B [rows,
 * rank], B zero at the start. The file stores exactly the trained scales, so that merging such an
 * adapter is exact: only scales change. The full-rank form is PEQA (Kim et al., "Memory-Efficient
 * Fine-Tuning of Compressed Large Language Models", arXiv:2305.14152).
 *
 * Scales of blocks are computed before the operator that reads them; ONNX Runtime folds them when it
 * loads the graph, which its MatMulNBits requires with `accuracy_level` 4 (with scales that are not
 * constants that kernel returns zeros): such an adapter cannot be an input of the graph. One scale per
 * row is one factor per column of the result, y' = y ⊙ (1 + scale·B·A)ᵀ, which needs no gradient of the
 * weight.
 */
import { int } from "../graph/attributes.ts";
import { type DataType, ONNX_TYPE } from "../graph/dtype.ts";
import { elementCount, float32, int64 } from "../graph/tensor.ts";
import type { Model, Node } from "../graph/types.ts";
import { UsageError } from "../errors.ts";
import { type GraphIndex, preparing } from "./graph_index.ts";
import type { Injected } from "./inject.ts";
import type { InjectOptions, LoraWeights } from "./lora_weights.ts";
import type { LinearForm } from "./linear_form.ts";
import {
  type AdaptedProduct,
  callScope,
  editProducts,
  type Op,
  opsAfter,
  scaleOf,
  stackedRows,
} from "./low_rank_parts.ts";
import { callsOf, type LinearModule } from "./modules.ts";
import type { LoraSite } from "./targets.ts";

/** Names of an adapter's tensors in the graph, and in files after PEFT's prefix. */
export const scalesName = (path: string, which: "A" | "B") => `${path}.scales_${which}.weight`;

/** Layout of the scales of a linear layer. */
export interface ScaleGrid {
  /**
   * Scales of a row of W [out, in]; 1 if a single scale covers the whole row. The last block of a row
   * may be incomplete.
   */
  readonly blocks: number;
  /** Whether the file has them as [blocks, rows]. */
  readonly transposed: boolean;
}

/** The layout of a layer's scales, or the reason why it has none. */
function gridOf(index: GraphIndex, module: LinearModule): ScaleGrid | string {
  const { layout, blockSize, scales, axis = 1, inFeatures, slice, outFeatures } = module;
  const value = scales === undefined ? undefined : index.constant(scales);
  if (value === undefined) return "its weight is not quantised; train LoRA instead";
  const packed = layout === "NBits" || layout === "Bnb4";
  const outFirst = packed || layout === "NK";
  if (blockSize !== undefined) {
    if (!packed && (axis === 1) !== outFirst) {
      return "its blocks are along the outputs; train LoRA instead";
    }
    return { blocks: Math.ceil(inFeatures / blockSize), transposed: !outFirst };
  }
  const isPerRow = elementCount(value.dims) === (slice?.total ?? outFeatures) &&
    (axis === 0) === outFirst;
  return isPerRow
    ? { blocks: 1, transposed: false }
    : "it has one scale for the whole matrix; train LoRA instead";
}

/**
 * @throws {UsageError} if the layer has no scales of its rows or blocks
 */
export function scaleGrid(index: GraphIndex, module: LinearModule): ScaleGrid {
  const found = gridOf(index, module);
  if (typeof found !== "string") return found;
  throw new UsageError(`Cannot adapt the scales of "${module.path}": ${found}`);
}

/** Whether a layer has scales of its rows or blocks. */
export function hasScales(index: GraphIndex, module: LinearModule): boolean {
  return typeof gridOf(index, module) !== "string";
}

/**
 * Adds scale adapters to a graph.
 *
 * @param adapters matrices by module path, one pair for every site
 * @throws {UsageError} if a site has no scales to adapt
 * @throws {BadInputError} if a site has no matrices or they do not fit it
 */
export function injectScales(
  model: Model,
  sites: readonly LoraSite[],
  adapters: ReadonlyMap<string, LoraWeights>,
  options: InjectOptions = {},
): Injected {
  const how = {
    options,
    nameOf: scalesName,
    columnsOf: (index: GraphIndex, module: LinearModule) => scaleGrid(index, module).blocks,
  };
  const edited = editProducts(model, sites, adapters, how, (product) => {
    const [{ module }] = product.group;
    const grid = scaleGrid(product.index, module);
    for (const [number, call] of callsOf(module).entries()) {
      const update = { ...product, grid, call, scope: `${callScope(module, number)}.scales` };
      if (grid.blocks === 1) multiplyResult(update);
      else multiplyScales(update);
    }
  });
  return { ...edited, masks: new Map() };
}

interface Update extends AdaptedProduct {
  readonly grid: ScaleGrid;
  readonly call: LinearForm;
  /** Prefix of the names of the update's values. */
  readonly scope: string;
}

/** 1 + scale·B·A of the whole product, [rows, blocks]. */
function factors({ edit, group, declared, scope }: Update, op: Op): string {
  const a = declared.map(({ a }) => a);
  const all = a.length === 1 ? a[0] : op("Concat", a, "down", { axis: int(0) });
  const scale = scaleOf(group);
  const column = scale.dims.length === 0 ? scale : { ...scale, dims: [scale.dims[0], 1] };
  const scaled = op("Mul", [all, edit.initializer(`${scope}.scale`, column)], "scaled");
  const product = op(
    "MatMul",
    [stackedRows(edit, group, declared.map(({ b }) => b), op), scaled],
    "change",
  );
  return op("Add", [product, edit.shared("scales_one", () => float32([], [1]))], "factors");
}

/** Multiplies the scales of blocks. */
function multiplyScales(update: Update): void {
  const { edit, index, call, grid } = update;
  const { dims, dtype } = index.constant(call.scales!)!;
  const reader = readerOf(index, call);
  // At the producer of the layer's input, so that these values need not pass a cut of the graph before
  // it.
  const op = opsAfter(update, index.producer(call.input));
  const cast = (value: string, to: DataType, name: string) =>
    dtype === "float32" ? value : op("Cast", [value], name, { to: int(ONNX_TYPE[to]) });
  let by = factors(update, op);
  if (grid.transposed) {
    by = op("Transpose", [by], "factors_T", { perm: { kind: "ints", value: [1, 0] } });
  }
  if (dims.length !== 2) {
    const shape = edit.shared(`scales_shape.${dims}`, () => int64([dims.length], dims));
    by = op("Reshape", [by, shape], "factors_flat");
  }
  const product = op("Mul", [cast(call.scales!, "float32", "floats"), by], "product");
  edit.renameInput(reader, call.scales!, cast(product, dtype, "new"));
}

/** The node that multiplies codes by their scales. */
function readerOf(index: GraphIndex, { node, scales, layout }: LinearForm): Node {
  if (layout === "NBits" || layout === "Bnb4") return node;
  for (const input of node.inputs) {
    for (const maker of preparing(index, input)) {
      if (maker.opType === "DequantizeLinear" && maker.inputs[1] === scales) return maker;
    }
  }
  throw new RangeError(`No node of the graph dequantises the weight of "${node.name}"`);
}

/** Multiplies the result's columns for one scale per row; a bias that the operator adds stays unscaled. */
function multiplyResult(update: Update): void {
  const { edit, index, call } = update;
  const { output, bias, dtype } = call;
  const anchor = index.producer(output);
  if (anchor === undefined) throw new RangeError(`No node of the graph makes "${output}"`);
  const op = opsAfter(update, anchor);
  const rows = factors(update, op);
  const shape = edit.shared("scales_row", () => int64([1], [-1]));
  const flat = op("Reshape", [rows, shape], "factors_flat");
  const by = dtype === "float32" ? flat : op("Cast", [flat], "cast", { to: int(ONNX_TYPE[dtype]) });
  const base = `${output}.unscaled`;
  edit.renameOutput(anchor, output, base);
  const added = bias?.output === output ? bias.weight : undefined;
  if (added === undefined) return void edit.add(anchor, "Mul", [base, by], output);
  const alone = op("Sub", [base, added], "alone");
  edit.add(anchor, "Add", [op("Mul", [alone, by], "product"), added], output);
}
