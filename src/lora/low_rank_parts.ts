/** Common parts of low-rank updates, of weights or of scales. */
import { int } from "../graph/attributes.ts";
import { float32, type Tensor } from "../graph/tensor.ts";
import type { Model, Node } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { GraphEdit } from "./edit.ts";
import { type GraphIndex, indexGraph } from "./graph_index.ts";
import type { InjectOptions, LoraWeights } from "./lora_weights.ts";
import type { LinearModule } from "./modules.ts";
import { openAttention } from "./open_attention.ts";
import type { LoraSite } from "./targets.ts";
import { declareTrainable, type Trainable, type WithTrainable } from "./trainable.ts";

/** Adds a node and returns its output; `name` identifies it within the layer. */
export type Op = (
  opType: string,
  inputs: readonly string[],
  name: string,
  attributes?: Node["attributes"],
) => string;

/** Name of a module's magnitude in the graph, and in PEFT's files after `base_model.model.`. */
export const magnitudeName = (path: string): string => `${path}.lora_magnitude_vector`;

/** Groups slices of one fused product, which share one edit. */
function groupByProduct(sites: readonly LoraSite[]): readonly (readonly LoraSite[])[] {
  const groups = new Map<string, LoraSite[]>();
  for (const site of sites) {
    const group = groups.get(site.module.output);
    if (group === undefined) groups.set(site.module.output, [site]);
    else group.push(site);
  }
  return [...groups.values()];
}

/**
 * The matrices of a site: A [rank, columns], B [rows, rank].
 *
 * @throws {BadInputError} if they are missing or do not fit
 */
function checkedPair(
  { module: { path }, rank }: LoraSite,
  weights: LoraWeights | undefined,
  columns: number,
  rows: number,
): LoraWeights {
  if (weights === undefined) {
    throw new BadInputError(`Cannot inject LoRA at "${path}": the adapter has no matrices for it`);
  }
  const check = (which: "A" | "B", found: Tensor, rows: number, columns: number) => {
    if (
      found.dtype !== "float32" || found.dims.length !== 2 || found.dims[0] !== rows ||
      found.dims[1] !== columns
    ) {
      throw new BadInputError(
        `Cannot inject LoRA at "${path}": lora_${which} must be float32[${rows},${columns}]: ` +
          `current value is ${found.dtype}[${found.dims}]`,
      );
    }
  };
  check("A", weights.a, rank, columns);
  check("B", weights.b, rows, rank);
  for (const vector of [weights.magnitude, weights.rowFactors]) {
    if (vector === undefined || vector.dtype === "float32" && `${vector.dims}` === `${rows}`) {
      continue;
    }
    throw new BadInputError(
      `Cannot inject LoRA at "${path}": DoRA's magnitude must be float32[${rows}]: ` +
        `current value is ${vector.dtype}[${vector.dims}]`,
    );
  }
  return weights;
}

/** A product whose layers have low-rank matrices, in the edited graph. */
export interface AdaptedProduct {
  readonly edit: GraphEdit;
  /** Index of the graph before its edits. */
  readonly index: GraphIndex;
  /** The layers that the product computes: one, or slices of a fused one. */
  readonly group: readonly LoraSite[];
  /** Names of each site's A and B, and of DoRA's magnitude. */
  readonly declared: readonly {
    readonly a: string;
    readonly b: string;
    readonly magnitude?: string;
  }[];
  /** The contents of each site's tensors. */
  readonly weights: readonly LoraWeights[];
}

/** Properties of one kind of adapter. */
export interface LowRankKind {
  readonly options: InjectOptions;
  /** Names of a module's A and B in the graph. */
  readonly nameOf: (path: string, which: "A" | "B") => string;
  /** Columns of a module's A. */
  readonly columnsOf: (index: GraphIndex, module: LinearModule) => number;
}

/**
 * Declares A and B of all sites, as initializers or inputs, and adds their update to each product.
 *
 * @param adapters matrices by module path, one pair for every site
 * @throws {BadInputError} if a site has no matrices or they do not fit it
 */
export function editProducts(
  model: Model,
  sites: readonly LoraSite[],
  adapters: ReadonlyMap<string, LoraWeights>,
  { options, nameOf, columnsOf }: LowRankKind,
  update: (product: AdaptedProduct) => void,
): WithTrainable {
  const opened = openAttention(model, sites.map(({ module }) => module));
  const openSites = sites.map((site, i) => ({ ...site, module: opened.modules[i] }));
  const edit = new GraphEdit(opened.model.graph);
  const index = indexGraph(opened.model.graph);
  const trainable = new Map<string, Trainable>();
  const declare = (path: string, which: "A" | "B" | "magnitude", value: Tensor) =>
    declareTrainable(
      edit,
      trainable,
      which === "magnitude" ? magnitudeName(path) : nameOf(path, which),
      { path, which, dims: value.dims },
      value,
      options,
    );
  for (const group of groupByProduct(openSites)) {
    const weights = group.map((site) => {
      const { path, outFeatures } = site.module;
      return checkedPair(site, adapters.get(path), columnsOf(index, site.module), outFeatures);
    });
    const declared = group.map(({ module: { path } }, i) => {
      const { a, b, magnitude } = weights[i];
      return {
        a: declare(path, "A", a),
        b: declare(path, "B", b),
        ...(magnitude && { magnitude: declare(path, "magnitude", magnitude) }),
      };
    });
    update({ edit, index, group, declared, weights });
  }
  return { model: edit.apply(opened.model), trainable };
}

/** Suffix that distinguishes the names of further calls of a layer. */
export const callSuffix = (number: number) => number === 0 ? "" : `.${number}`;

/** Prefix of the values of a call of a product's layers. */
export function callScope({ path, slice }: LinearModule, number: number): string {
  const layer = slice === undefined ? path : `${path.slice(0, path.lastIndexOf("."))}.qkv_proj`;
  return layer + callSuffix(number);
}

/** Adds nodes after `anchor` (`undefined`: first) under names of a scope. */
export function opsAfter(
  { edit, scope }: { readonly edit: GraphEdit; readonly scope: string },
  anchor: Node | undefined,
): Op {
  return (opType, inputs, name, attributes = {}) =>
    edit.add(anchor, opType, inputs, edit.name(`${scope}.${name}`), attributes);
}

/**
 * The factor of a product's update: one for all, or one per rank, [ranks], if the slices' factors
 * differ.
 */
export function scaleOf(group: readonly LoraSite[]): Tensor {
  const [{ scale }] = group;
  if (group.every((site) => site.scale === scale)) return float32([], [scale]);
  const factors = group.flatMap((site) => Array<number>(site.rank).fill(site.scale));
  return float32([factors.length], factors);
}

/**
 * B of the whole product, [total, ranks]: each slice's B is in its rows and in the columns of its ranks,
 * with zeros elsewhere. This costs a few more multiplications than adding to each part, and avoids
 * splitting and joining the activation.
 */
export function stackedRows(
  edit: GraphEdit,
  group: readonly LoraSite[],
  b: readonly string[],
  op: Op,
): string {
  const { slice } = group[0].module;
  if (slice === undefined) return b[0];
  const zeros = (rows: number, columns: number) =>
    edit.shared(
      `lora_zeros.${rows}x${columns}`,
      () => float32([rows, columns], new Float32Array(rows * columns)),
    );
  const ranks = group.reduce((sum, site) => sum + site.rank, 0);
  const byOffset = group.map((site, i) => ({ site, b: b[i], column: columnOf(group, i) }))
    .sort((p, q) => p.site.module.slice!.offset - q.site.module.slice!.offset);
  const rows: string[] = [];
  let row = 0;
  for (const { site, b, column } of byOffset) {
    const { offset, size } = site.module.slice!;
    if (offset > row) rows.push(zeros(offset - row, ranks));
    const right = ranks - column - site.rank;
    const blocks = [
      ...column > 0 ? [zeros(size, column)] : [],
      b,
      ...right > 0 ? [zeros(size, right)] : [],
    ];
    rows.push(blocks.length === 1 ? b : op("Concat", blocks, `up_${offset}`, { axis: int(1) }));
    row = offset + size;
  }
  if (row < slice.total) rows.push(zeros(slice.total - row, ranks));
  return rows.length === 1 ? rows[0] : op("Concat", rows, "up", { axis: int(0) });
}

const columnOf = (group: readonly LoraSite[], at: number) =>
  group.slice(0, at).reduce((sum, site) => sum + site.rank, 0);
