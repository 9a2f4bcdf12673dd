/**
 * Adds LoRA to a user's graph: y' = y + ((x·Aᵀ)·scale)·Bᵀ at every target.
 *
 * New nodes are only added between a target and its readers: the base's own nodes, and so its results,
 * do not change, and with B zero the result is the base's bit for bit (except for targets inside ONNX
 * Runtime's fused attention, which is decomposed for them). The adapter is added after the layer's bias,
 * so that optimisers can still fuse the product with its bias. DoRA (`dora.ts`) scales the layer's result
 * before that, y' = (y − bias)·g + bias + ((x·Aᵀ)·scale)·(g ∘ B)ᵀ.
 */
import type { InjectOptions, LoraWeights } from "./lora_weights.ts";
import { int } from "../graph/attributes.ts";
import { ONNX_TYPE } from "../graph/dtype.ts";
import { float32, int64, toNumbers } from "../graph/tensor.ts";
import type { Model, Node } from "../graph/types.ts";
import type { GraphIndex } from "./graph_index.ts";
import { subtractInitial } from "./initial_product.ts";
import {
  type AdaptedProduct,
  callScope,
  callSuffix,
  editProducts,
  type Op,
  opsAfter,
  scaleOf,
  stackedRows,
} from "./low_rank_parts.ts";
import { callsOf, type LinearModule } from "./modules.ts";
import type { LoraSite } from "./targets.ts";
import type { Trainable } from "./trainable.ts";
import type { GraphEdit } from "./edit.ts";
import type { LinearForm } from "./linear_form.ts";
import { emitRowFactors, ofWhole } from "./dora.ts";

/** A graph input that multiplies an adapter's input: 0 where dropped, 1/(1−rate) elsewhere. */
export interface DropoutMask {
  /** Module path. */
  readonly path: string;
  /** Value whose dimensions the mask has. */
  readonly like: string;
  /** Share of the inputs that are dropped, 0 to 1. */
  readonly rate: number;
}

/** A graph with adapters. */
export interface Injected {
  /** The model with adapters in its graph. */
  readonly model: Model;
  /** Adapter tensors by name: `<path>.lora_A.weight`, `<path>.lora_B.weight`. */
  readonly trainable: ReadonlyMap<string, Trainable>;
  /** Mask inputs by name: `<path>.dropout_mask`, one for each call of a layer. */
  readonly masks: ReadonlyMap<string, DropoutMask>;
}

/** Names of an adapter's tensors in the graph, and in PEFT's files after `base_model.model.`. */
export const loraName = (path: string, which: "A" | "B"): string => `${path}.lora_${which}.weight`;

/**
 * Adds adapters to a graph.
 *
 * @param adapters matrices by module path, one pair for every site
 * @throws {BadInputError} if a site has no matrices or they do not fit it
 */
export function inject(
  model: Model,
  sites: readonly LoraSite[],
  adapters: ReadonlyMap<string, LoraWeights>,
  options: InjectOptions = {},
): Injected {
  const masks = new Map<string, DropoutMask>();
  const how = {
    options,
    nameOf: loraName,
    columnsOf: (_: GraphIndex, { inFeatures }: LinearModule) => inFeatures,
  };
  const edited = editProducts(model, sites, adapters, how, (product) => {
    const [{ module }] = product.group;
    for (const [number, form] of callsOf(module).entries()) {
      const { input, output, bias } = form;
      const result = bias?.output ?? output;
      const anchor = product.index.producer(result);
      if (anchor === undefined) throw new RangeError(`No node of the graph makes "${result}"`);
      const scope = `${callScope(module, number)}.lora`;
      const call = callSuffix(number);
      addUpdate({ ...product, options, anchor, form, input, result, scope, call, masks });
    }
  });
  return { ...edited, masks };
}

interface Update extends AdaptedProduct {
  readonly options: InjectOptions;
  /** Node after which the update is inserted; it computes `result`. */
  readonly anchor: Node;
  readonly form: LinearForm;
  readonly input: string;
  readonly result: string;
  /** Prefix of the names of the update's values. */
  readonly scope: string;
  /** Suffix that distinguishes the names of further calls of the layer. */
  readonly call: string;
  readonly masks: Map<string, DropoutMask>;
}

function addUpdate(given: Update): void {
  const { anchor, scope, options: { initials } } = given;
  const op = opsAfter(given, anchor);
  const update = initials === undefined ? given : subtractInitial(given, initials, op);
  const { edit, group, declared, result } = update;
  const { dtype } = group[0].module;
  const cast = (value: string, to: "float32" | typeof dtype, name: string) =>
    dtype === "float32" ? value : op("Cast", [value], name, { to: int(ONNX_TYPE[to]) });

  // Adapters are float32 whatever the base's type, as in PEFT.
  const x = cast(update.input, "float32", "input");
  const down = project(update, x, declared.map(({ a }) => a), op);
  const scaled = op(
    "Mul",
    [down, edit.initializer(`${scope}.scale`, scaleOf(group))],
    "scaled",
  );
  const b = stackedRows(edit, group, declared.map(({ b }) => b), op);
  const factors = rowFactors(update, b, op);
  const up = factors?.trained === true
    ? op(
      "Mul",
      [b, op("Reshape", [factors.value, column(edit)], "row_factors_column")],
      "up_scaled",
    )
    : b;
  const delta = op("MatMul", [scaled, op("Transpose", [up], "up_T", TRANSPOSE)], "delta");
  const base = `${result}.base`;
  edit.renameOutput(anchor, result, base);
  if (factors === undefined) {
    return void edit.add(anchor, "Add", [base, cast(delta, dtype, "delta_cast")], result);
  }
  const rows = scaledRows(update, cast(base, "float32", "base_cast"), factors.value, op);
  const sum = dtype === "float32" ? result : edit.name(`${scope}.sum`);
  edit.add(anchor, "Add", [rows, delta], sum);
  if (sum !== result) edit.add(anchor, "Cast", [sum], result, { to: int(ONNX_TYPE[dtype]) });
}

const column = (edit: GraphEdit) => edit.shared("lora_column", () => int64([2], [-1, 1]));

/** Factors of the rows of the product's weight, [total]; `undefined` if it has none. */
function rowFactors(
  update: Update,
  b: string,
  op: Op,
): { readonly value: string; readonly trained: boolean } | undefined {
  const { edit, group, declared, weights, scope, form } = update;
  if (declared.some(({ magnitude }) => magnitude !== undefined)) {
    const a = declared.map(({ a }) => a);
    const all = a.length === 1 ? a[0] : op("Concat", a, "norm_down", { axis: int(0) });
    return { value: emitRowFactors(update, update, form, [all, b]), trained: true };
  }
  if (weights.every(({ rowFactors }) => rowFactors === undefined)) return undefined;
  const factors = ofWhole(group, (_, i) => {
    const own = weights[i].rowFactors;
    return own && toNumbers(own);
  });
  return { value: edit.initializer(`${scope}.row_factors`, factors), trained: false };
}

/** The layer's result with its weight's rows scaled, float32; the bias is not a part of the weight. */
function scaledRows({ edit, form }: Update, base: string, factors: string, op: Op): string {
  const scaled = op("Mul", [base, factors], "rows_scaled");
  if (form.bias === undefined) return scaled;
  const bias = form.dtype === "float32"
    ? form.bias.weight
    : op("Cast", [form.bias.weight], "bias_cast", { to: int(ONNX_TYPE.float32) });
  const one = edit.shared("lora_one", () => float32([], [1]));
  const missing = op("Mul", [bias, op("Sub", [one, factors], "bias_factors")], "bias_missing");
  return op("Add", [scaled, missing], "rebiased");
}

const TRANSPOSE = { perm: { kind: "ints", value: [1, 0] } } as const;

/** x·Aᵀ [.., ranks]; the slices' A are stacked, except with dropout, where each has its own x. */
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
