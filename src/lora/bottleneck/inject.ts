/** Adds bottleneck adapters to a user's graph: h ← h + U·f(D·h + d) + u behind every chosen layer. */
import { BadInputError } from "../../errors.ts";
import { int } from "../../graph/attributes.ts";
import { ONNX_TYPE } from "../../graph/dtype.ts";
import { float32 } from "../../graph/tensor.ts";
import type { Model } from "../../graph/types.ts";
import { GraphEdit } from "../edit.ts";
import { type GraphIndex, indexGraph } from "../graph_index.ts";
import type { InjectOptions } from "../lora_weights.ts";
import { callScope, type Op, opsAfter } from "../low_rank_parts.ts";
import { callsOf, type LinearModule } from "../modules.ts";
import { declareTrainable, type Trainable, type WithTrainable } from "../trainable.ts";
import {
  BOTTLENECK_PARTS,
  type BottleneckConfig,
  type BottleneckPart,
  type NonLinearity,
} from "./config.ts";
import { type BottleneckWeights, checkedBottleneck } from "./weights.ts";

const TRANSPOSE = { perm: { kind: "ints", value: [1, 0] } } as const;

/**
 * Adds adapters behind layers. Only the values that the layers' results are named by must still exist: other
 * adapters may have been added to them, or merged.
 *
 * @param modules layers of the base
 * @param weights an adapter for each of them
 * @throws {BadInputError} if an adapter does not fit its layer
 */
export function injectBottlenecks(
  model: Model,
  modules: readonly LinearModule[],
  weights: ReadonlyMap<string, BottleneckWeights>,
  { nonLinearity }: Pick<BottleneckConfig, "nonLinearity">,
  options: InjectOptions = {},
): WithTrainable {
  const edit = new GraphEdit(model.graph);
  const index = indexGraph(model.graph);
  const trainable = new Map<string, Trainable>();
  for (const module of modules) {
    const { path, outFeatures, slice } = module;
    if (slice !== undefined) {
      throw new BadInputError(
        `Cannot add an adapter behind "${path}": it is part of a fused linear`,
      );
    }
    const given = checkedBottleneck(path, weights.get(path) ?? {}, outFeatures);
    const names = Object.fromEntries(BOTTLENECK_PARTS.map((which) => {
      const what = { path, which, dims: given[which].dims };
      const name = `${path}.${which}`;
      return [which, declareTrainable(edit, trainable, name, what, given[which], options)];
    })) as Record<BottleneckPart, string>;
    for (const [number, { output, bias, dtype }] of callsOf(module).entries()) {
      const result = bias?.output ?? output;
      const anchor = index.producer(result);
      if (anchor === undefined) throw new RangeError(`No node of the graph makes "${result}"`);
      const scope = `${callScope(module, number)}.adapter`;
      const op = opsAfter({ edit, scope }, anchor);
      const cast = (value: string, to: "float32" | typeof dtype, name: string) =>
        dtype === "float32" ? value : op("Cast", [value], name, { to: int(ONNX_TYPE[to]) });
      const product = (value: string, which: "down" | "up") => {
        const turned = op("Transpose", [names[`adapter_${which}.weight`]], `${which}_T`, TRANSPOSE);
        const product = op("MatMul", [value, turned], `${which}_product`);
        return op("Add", [product, names[`adapter_${which}.bias`]], which);
      };
      const base = `${result}.before_adapter`;
      edit.renameOutput(anchor, result, base);
      const hidden = cast(whole(index, result, base, op), "float32", "input");
      const delta = product(activation(nonLinearity, product(hidden, "down"), edit, op), "up");
      edit.add(anchor, "Add", [base, cast(delta, dtype, "delta_cast")], result);
    }
  }
  return { model: edit.apply(model), trainable };
}

/** Place of the bias that a fused normalisation adds to its first input. */
const SKIP_BIAS: ReadonlyMap<string, number> = new Map([
  ["SkipLayerNormalization", 4],
  ["SkipSimplifiedLayerNormalization", 3],
]);

/** A layer's result with its bias, which ONNX Runtime's optimiser moves into the normalisation after it. */
function whole(index: GraphIndex, result: string, base: string, op: Op): string {
  const readers = index.consumers(result);
  const [reader] = readers;
  const bias = reader?.inputs[SKIP_BIAS.get(reader.opType) ?? -1] ?? "";
  const isFused = readers.length === 1 && bias !== "" && reader.inputs.slice(0, 2).includes(result);
  return isFused ? op("Add", [base, bias], "biased") : base;
}

/** The function of x, of operators that every operator set has. */
function activation(kind: NonLinearity, x: string, edit: GraphEdit, op: Op): string {
  const constant = (value: number) =>
    edit.shared(`adapter_constant.${value}`, () => float32([], [value]));
  switch (kind) {
    case "relu":
      return op("Relu", [x], "relu");
    case "swish":
      return op("Mul", [x, op("Sigmoid", [x], "sigmoid")], "swish");
    case "gelu": {
      const erf = op("Erf", [op("Mul", [x, constant(Math.SQRT1_2)], "scaled")], "erf");
      const half = op("Mul", [x, constant(0.5)], "half");
      return op("Mul", [half, op("Add", [erf, constant(1)], "one_more")], "gelu");
    }
  }
}
