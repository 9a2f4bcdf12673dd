/** What every low-rank update of a product is made of, whatever it updates. */
import { int } from "../graph/attributes.ts";
import { float32, type Tensor } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import type { GraphEdit } from "./edit.ts";
import type { InjectOptions, LoraWeights } from "./inject.ts";
import type { LoraSite } from "./targets.ts";
import { declareTrainable, type Trainable } from "./trainable.ts";

/** Adds a node and returns its output; `name` tells it apart within the layer. */
export type Op = (
  opType: string,
  inputs: readonly string[],
  name: string,
  attributes?: Node["attributes"],
) => string;

/** Slices of one fused product share one edit. */
export function groupByProduct(sites: readonly LoraSite[]): readonly (readonly LoraSite[])[] {
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
 * @throws {BadInputError} where there are none or they do not fit
 */
export function checkedPair(
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
  return weights;
}

/** Where adapter tensors are declared. */
export interface Declaring {
  readonly edit: GraphEdit;
  readonly options: InjectOptions;
  readonly trainable: Map<string, Trainable>;
}

/**
 * Declares A and B of a site as initializers or inputs.
 *
 * @param nameOf their names in the graph
 */
export function declarePair(
  { edit, options, trainable }: Declaring,
  { module: { path } }: LoraSite,
  { a, b }: LoraWeights,
  nameOf: (path: string, which: "A" | "B") => string,
): { readonly a: string; readonly b: string } {
  const put = (which: "A" | "B", value: Tensor) =>
    declareTrainable(
      edit,
      trainable,
      nameOf(path, which),
      { path, which, dims: value.dims },
      value,
      options,
    );
  return { a: put("A", a), b: put("B", b) };
}

/** The factor on a product's update: one for all, or one for each rank, [ranks], where the slices' differ. */
export function scaleOf(group: readonly LoraSite[]): Tensor {
  const [{ scale }] = group;
  if (group.every((site) => site.scale === scale)) return float32([], [scale]);
  const factors = group.flatMap((site) => Array<number>(site.rank).fill(site.scale));
  return float32([factors.length], factors);
}

/**
 * B of the whole product, [total, ranks]: each slice's B stands in its rows and in the columns of its
 * ranks, zeros elsewhere. That costs a few products more than adding to each part, and spares
 * cutting the activation apart and joining it again.
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
