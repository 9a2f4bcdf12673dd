/** Adds a classification head to a model: pooling over tokens, then a linear layer. */
import { int } from "../graph/attributes.ts";
import { type DataType, isFloating, ONNX_TYPE } from "../graph/dtype.ts";
import { float32, int64 } from "../graph/tensor.ts";
import type { Dim, Model } from "../graph/types.ts";
import { UsageError } from "../errors.ts";
import { GraphEdit } from "./edit.ts";
import {
  checkLinearWeights,
  declareTrainable,
  type LinearWeights,
  type Trainable,
  type WithTrainable,
} from "./trainable.ts";

/** Pooling of token states to one vector: their mean over the attention mask, or the first token's state. */
export type Pooling = "mean" | "first";

/** How a classification head is added. */
export interface HeadOptions {
  /** How tokens become one vector. */
  readonly pooling: Pooling;
  /** Name of the token states [batch, sequence, hidden]; default: the only such output. */
  readonly states?: string;
  /** Makes weight and bias graph inputs instead of initializers. */
  readonly asInputs?: boolean;
}

/** Names of a new head's tensors, in the graph and in `head.safetensors`. */
export const HEAD = { weight: "head.weight", bias: "head.bias" } as const;
/** The output with a classifier's scores. */
export const LOGITS_OUTPUT = "logits";

/** A model's token states: an output [batch, sequence, hidden]. */
export interface TokenStates {
  /** Name of the value, [batch, length, hidden]. */
  readonly name: string;
  /** Its element type. */
  readonly dtype: DataType;
  /** Its first dimension. */
  readonly batch: Dim;
  /** Its last dimension. */
  readonly hidden: number;
}

/**
 * Finds the output with token states.
 *
 * @throws {UsageError} if the model has no such output, or has `logits` already
 */
export function tokenStates(model: Model, name?: string): TokenStates {
  const { outputs } = model.graph;
  if (outputs.some((output) => output.name === LOGITS_OUTPUT)) {
    throw new UsageError((name) =>
      `Cannot add a classification head: the model has "${LOGITS_OUTPUT}" already; ` +
      `\`${name("modulesToSave", "classifier")}\` trains an existing head`
    );
  }
  const found = outputs.filter((output) =>
    name === undefined
      ? output.type?.shape?.length === 3 && isFloating(output.type.dtype)
      : output.name === name
  );
  const { dtype, shape = [] } = found[0]?.type ?? {};
  const [batch] = shape;
  const hidden = shape.at(-1);
  if (found.length !== 1 || dtype === undefined || typeof hidden !== "number") {
    const shown = outputs.map(({ name, type }) => `${name} [${type?.shape?.join(", ") ?? "?"}]`);
    throw new UsageError(
      `Cannot add a classification head: the model needs one output of token states ` +
        `[batch, sequence, hidden], hidden a number: current outputs are ${shown.join(", ")} ` +
        `(an output of scores must be called "${LOGITS_OUTPUT}")`,
    );
  }
  return { name: found[0].name, dtype, batch, hidden };
}

/**
 * Adds pooling and `logits` = pooled·Wᵀ + b to a model with token states; its outputs stay.
 *
 * @param head weight [classes, hidden] and bias [classes]
 */
export function addClassificationHead(
  model: Model,
  head: LinearWeights,
  options: HeadOptions,
): WithTrainable {
  const { name, dtype, batch, hidden } = tokenStates(model, options.states);
  checkLinearWeights("head", head, hidden);
  const classes = head.weight.dims[0];
  const edit = new GraphEdit(model.graph);
  // Not an output, otherwise there would be no need for a head.
  if (edit.has(LOGITS_OUTPUT)) edit.renameValue(LOGITS_OUTPUT, `${LOGITS_OUTPUT}.inner`);
  const last = model.graph.nodes.at(-1);
  const op = (type: string, inputs: readonly string[], name: string, attributes = {}) =>
    edit.add(last, type, inputs, edit.name(name), attributes);
  // The head computes in float32, whatever the model's type.
  const states = dtype === "float32"
    ? name
    : op("Cast", [name], "head.states", { to: int(ONNX_TYPE.float32) });
  const pooled = options.pooling === "mean"
    ? meanOverMask(model, edit, op, states)
    : op("Gather", [states, edit.initializer("head.first", int64([], [0]))], "head.pooled", {
      axis: int(1),
    });
  const trainable = new Map<string, Trainable>();
  const put = (which: "weight" | "bias") =>
    declareTrainable(
      edit,
      trainable,
      HEAD[which],
      { path: "head", which, dims: head[which].dims },
      head[which],
      options,
    );
  const inputs = [pooled, put("weight"), put("bias")];
  edit.add(last, "Gemm", inputs, edit.name(LOGITS_OUTPUT), { transB: int(1) });
  edit.output({ name: LOGITS_OUTPUT, type: { dtype: "float32", shape: [batch, classes] } });
  return { model: edit.apply(model), trainable };
}

type Op = (
  type: string,
  inputs: readonly string[],
  name: string,
  attributes?: Record<string, ReturnType<typeof int>>,
) => string;

/** Mean of token states over the attention mask: (mask·states) / max(Σ mask, 1e-9). */
function meanOverMask(model: Model, edit: GraphEdit, op: Op, states: string): string {
  const mask = "attention_mask";
  const input = model.graph.inputs.find(({ name }) => name === mask);
  if (input?.type?.shape?.length !== 2) {
    throw new UsageError(
      `Cannot pool by mean: the model has no input "${mask}" [batch, sequence]; use first-token pooling`,
    );
  }
  const shape = (name: string, dims: readonly number[]) =>
    edit.initializer(name, int64([dims.length], dims));
  const weights = op("Cast", [mask], "head.mask", { to: int(ONNX_TYPE.float32) });
  const rows = op("Reshape", [weights, shape("head.rows_shape", [0, 1, -1])], "head.rows");
  const sums = op("MatMul", [rows, states], "head.sums");
  const flat = op("Reshape", [sums, shape("head.flat_shape", [0, -1])], "head.flat");
  // The mask's sum is a product too, because ReduceSum's axes moved from attribute to input in opset 13.
  const columns = op("Reshape", [weights, shape("head.columns_shape", [0, -1, 1])], "head.columns");
  const squares = op("MatMul", [rows, columns], "head.squares");
  const count = op("Reshape", [squares, shape("head.count_shape", [0, -1])], "head.count");
  const least = edit.initializer("head.least", float32([], [1e-9]));
  return op("Div", [flat, op("Max", [count, least], "head.divisor")], "head.pooled");
}
