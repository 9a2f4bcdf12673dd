/**
 * Adds LoRA to a user's graph: y' = y + ((x·Aᵀ)·scale)·Bᵀ at every target.
 *
 * Only the new nodes stand between a target and its readers: the base's own nodes, and so its
 * numbers, stay as they are, and with B zero the result is the base's bit for bit (but for targets
 * inside ONNX Runtime's fused attention, which is taken apart for them). The adapter is
 * added after the layer's bias, where optimisers that fuse a product with its bias still find both.
 */
import { int } from "../graph/attributes.ts";
import { ONNX_TYPE } from "../graph/dtype.ts";
import { float32, type Tensor } from "../graph/tensor.ts";
import type { Model, Node } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { GraphEdit } from "./edit.ts";
import { indexGraph } from "./graph_index.ts";
import { callsOf } from "./modules.ts";
import { openAttention } from "./open_attention.ts";
import type { LoraSite } from "./targets.ts";
import { declareTrainable, type Trainable } from "./trainable.ts";

/** A pair of adapter matrices: A [rank, in], B [out, rank], float32. */
export interface LoraWeights {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** A graph input that multiplies an adapter's input: 0 where dropped, 1/(1−rate) elsewhere. */
export interface DropoutMask {
  /** Module path. */
  readonly path: string;
  /** Value whose dimensions the mask has. */
  readonly like: string;
  readonly rate: number;
}

export interface InjectOptions {
  /** Makes A and B graph inputs instead of initializers, so that they can change between runs. */
  readonly asInputs?: boolean;
  /** Adds a mask input for each site whose dropout is above zero; without it dropout is left out. */
  readonly dropout?: boolean;
}

export interface Injected {
  readonly model: Model;
  /** Adapter tensors by name: `<path>.lora_A.weight`, `<path>.lora_B.weight`. */
  readonly trainable: ReadonlyMap<string, Trainable>;
  /** Mask inputs by name: `<path>.dropout_mask`, one for each call of a layer. */
  readonly masks: ReadonlyMap<string, DropoutMask>;
}

/** Names of an adapter's tensors in the graph, and in PEFT's files after `base_model.model.`. */
export const loraName = (path: string, which: "A" | "B") => `${path}.lora_${which}.weight`;

/**
 * Adds adapters to a graph.
 *
 * @param adapters matrices by module path, one pair for every site
 * @throws {BadInputError} where a site has no matrices or they do not fit it
 */
export function inject(
  model: Model,
  sites: readonly LoraSite[],
  adapters: ReadonlyMap<string, LoraWeights>,
  options: InjectOptions = {},
): Injected {
  const opened = openAttention(model, sites.map(({ module }) => module));
  const { graph } = opened.model;
  const openSites = sites.map((site, i) => ({ ...site, module: opened.modules[i] }));
  const edit = new GraphEdit(graph);
  const index = indexGraph(graph);
  const trainable = new Map<string, Trainable>();
  const masks = new Map<string, DropoutMask>();
  for (const group of groupByProduct(openSites)) {
    const weights = group.map((site) => checkWeights(site, adapters.get(site.module.path)));
    const declared = group.map((site, i) =>
      declare({ edit, options, trainable }, site, weights[i])
    );
    for (const [number, { input, output, bias }] of callsOf(group[0].module).entries()) {
      const result = bias?.output ?? output;
      const anchor = index.producer(result);
      if (anchor === undefined) throw new RangeError(`No node of the graph makes "${result}"`);
      const call = number === 0 ? "" : `.${number}`;
      addUpdate({ edit, anchor, group, declared, input, result, call, options, masks });
    }
  }
  return { model: edit.apply(opened.model), trainable, masks };
}

/** Slices of one fused product share one edit. */
function groupByProduct(sites: readonly LoraSite[]): readonly (readonly LoraSite[])[] {
  const groups = new Map<string, LoraSite[]>();
  for (const site of sites) {
    const group = groups.get(site.module.output);
    if (group === undefined) groups.set(site.module.output, [site]);
    else group.push(site);
  }
  return [...groups.values()];
}

function checkWeights(site: LoraSite, weights: LoraWeights | undefined): LoraWeights {
  const { path, inFeatures, outFeatures } = site.module;
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
  check("A", weights.a, site.rank, inFeatures);
  check("B", weights.b, outFeatures, site.rank);
  return weights;
}

/** Where adapter tensors are declared. */
interface Declaring {
  readonly edit: GraphEdit;
  readonly options: InjectOptions;
  readonly trainable: Map<string, Trainable>;
}

interface Update extends Pick<Declaring, "edit" | "options"> {
  /** Node after which the update goes; it makes `result`. */
  readonly anchor: Node;
  readonly group: readonly LoraSite[];
  /** Names of each site's A and B. */
  readonly declared: readonly { readonly a: string; readonly b: string }[];
  readonly input: string;
  readonly result: string;
  /** Sets the names of a further call of the layer apart. */
  readonly call: string;
  readonly masks: Map<string, DropoutMask>;
}

function addUpdate(update: Update): void {
  const { edit, anchor, group, declared, result, call } = update;
  const { path, dtype, slice } = group[0].module;
  const layer = slice === undefined ? path : `${path.slice(0, path.lastIndexOf("."))}.qkv_proj`;
  const scope = layer + call;
  const label = (name: string) => edit.name(`${scope}.lora.${name}`);
  const op = (opType: string, inputs: readonly string[], name: string, attributes = {}) =>
    edit.add(anchor, opType, inputs, label(name), attributes);
  const cast = (value: string, to: "float32" | typeof dtype, name: string) =>
    dtype === "float32" ? value : op("Cast", [value], name, { to: int(ONNX_TYPE[to]) });

  // Adapters are float32 whatever the base computes in, as PEFT keeps them.
  const x = cast(update.input, "float32", "input");
  const down = project(update, x, declared.map(({ a }) => a), op);
  const scaled = op(
    "Mul",
    [down, edit.initializer(`${scope}.lora.scale`, scaleOf(group))],
    "scaled",
  );
  const b = stack(update, declared.map(({ b }) => b), op);
  const delta = op("MatMul", [scaled, op("Transpose", [b], "up_T", TRANSPOSE)], "delta");
  const base = `${result}.base`;
  edit.renameOutput(anchor, result, base);
  edit.add(anchor, "Add", [base, cast(delta, dtype, "delta_cast")], result);
}

type Op = (
  opType: string,
  inputs: readonly string[],
  name: string,
  attributes?: Node["attributes"],
) => string;

const TRANSPOSE = { perm: { kind: "ints", value: [1, 0] } } as const;

/** Declares A and B of a site as initializers or inputs. */
function declare({ edit, options, trainable }: Declaring, site: LoraSite, weights: LoraWeights) {
  const { path } = site.module;
  const put = (which: "A" | "B", value: Tensor) => {
    const name = loraName(path, which);
    const what = { path, which, dims: value.dims };
    return declareTrainable(edit, trainable, name, what, value, options);
  };
  return { a: put("A", weights.a), b: put("B", weights.b) };
}

/** x·Aᵀ [.., ranks]; the slices' A are stacked, with dropout each meets its own x. */
function project(update: Update, x: string, a: readonly string[], op: Op): string {
  const { group, input, call, options, edit, masks } = update;
  const dropped = options.dropout === true && group.some((site) => site.dropout > 0);
  if (!dropped) {
    const all = a.length === 1 ? a[0] : op("Concat", a, "down", { axis: int(0) });
    return op("MatMul", [x, op("Transpose", [all], "down_T", TRANSPOSE)], "low");
  }
  const parts = group.map(({ module: { path }, dropout }, i) => {
    const mask = edit.input({ name: `${path}${call}.dropout_mask`, type: { dtype: "float32" } });
    masks.set(mask, { path, like: input, rate: dropout });
    const kept = op("Mul", [x, mask], `kept_${i}`);
    return op("MatMul", [kept, op("Transpose", [a[i]], `down_T_${i}`, TRANSPOSE)], `low_${i}`);
  });
  return parts.length === 1 ? parts[0] : op("Concat", parts, "low", { axis: int(-1) });
}

/** One factor for all, or one per column of x·Aᵀ where the slices' differ. */
function scaleOf(group: readonly LoraSite[]): Tensor {
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
function stack({ edit, group }: Update, b: readonly string[], op: Op): string {
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
