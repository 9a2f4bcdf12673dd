/**
 * Rewrites ONNX Runtime's operators on quantised activations (its "QOperator" format) in the form that
 * most tools write now (QDQ): DequantizeLinear, the operator on floats, QuantizeLinear. Both compute the
 * same, and the runtime runs the latter with its integer kernels.
 *
 * Operators that only move elements are not changed; they run on integers. Sources:
 * docs/ContribOperators.md of ONNX Runtime; ONNX's QLinearMatMul-10 and QLinearConv-10.
 */
import { float, floatAttribute, int, intAttribute } from "../attributes.ts";
import type { Attributes } from "../builder.ts";
import { freeName, valueNames } from "../facts.ts";
import { node as onnxNode } from "../node.ts";
import { elementCount, float32, type Tensor, toNumbers } from "../tensor.ts";
import { MICROSOFT, type Model, type Node, operatorName } from "../types.ts";
import { verify } from "../verify.ts";
import { constantsOf } from "./constants.ts";

/** Quantisation of a value: names of scale and zero point, "" for a zero point of 0. */
interface Scale {
  readonly scale: string;
  readonly zeroPoint: string;
}

/** A quantised value that an operator reads. */
interface Operand extends Scale {
  readonly value: string;
  /** Axis of per-channel scales; absent: a single scale. */
  readonly axis?: number;
}

/**
 * int32 values added to a product: their scale is the product of the two operands' scales times
 * `factor`.
 */
interface Bias {
  readonly bias: string;
  readonly factor: number;
}

/** A node's operation on floats. */
interface OnFloats {
  readonly opType: string;
  /** A name stands for an input that is not quantised. */
  readonly inputs: readonly (Operand | Bias | string)[];
  /** Quantisation of the result; absent if it is floats. */
  readonly result?: Scale;
  readonly attributes: Attributes;
}

/** Oldest operator set whose DequantizeLinear accepts a scale per channel. */
const PER_CHANNEL_SINCE = 13;

/** The rewritten model; the model itself if it has no such operator. */
export function qoperatorsToQdq(model: Model): Model {
  const { graph } = model;
  if (!graph.nodes.some((node) => FORMS.has(operatorName(node)))) return model;
  const rewriter = new Rewriter(model);
  for (const node of graph.nodes) rewriter.add(node);
  const initializers = new Map([...graph.initializers, ...rewriter.scales]);
  const nodes = rewriter.nodes;
  return { ...model, graph: verify({ ...graph, nodes, initializers }, "qoperatorsToQdq()") };
}

class Rewriter {
  readonly nodes: Node[] = [];
  /** Scales of biases. */
  readonly scales = new Map<string, Tensor>();
  readonly #constants: ReadonlyMap<string, Tensor>;
  readonly #perChannel: boolean;
  readonly #names: Set<string>;
  /** Dequantised values, by their quantised value and scale. */
  readonly #floats = new Map<string, string>();

  constructor({ graph, opsets }: Model) {
    this.#constants = constantsOf(graph);
    this.#perChannel = (opsets[""] ?? 0) >= PER_CHANNEL_SINCE;
    this.#names = valueNames(graph);
  }

  add(node: Node): void {
    const form = FORMS.get(operatorName(node))?.(node, (name) => this.#constants.get(name));
    if (form === undefined || !this.#fits(form)) {
      this.nodes.push(node);
      return;
    }
    const { opType, result, attributes } = form;
    const inputs = this.#inputs(form);
    const [output] = node.outputs;
    const floats = result === undefined ? output : this.#fresh(
      output.replace(/_quantized$/, "") + (output.endsWith("_quantized") ? "" : ".float"),
    );
    this.nodes.push({ ...node, opType, domain: "", inputs, outputs: [floats], attributes });
    if (result === undefined) return;
    this.nodes.push(onnxNode("QuantizeLinear", withScale(floats, result), output));
  }

  /** Whether ONNX's QuantizeLinear and DequantizeLinear accept all scales. */
  #fits({ inputs, result }: OnFloats): boolean {
    if (result !== undefined && this.#scaleCount(result.scale) !== 1) return false;
    return inputs.every((input) => {
      if (typeof input === "string" || "bias" in input) return true;
      const count = this.#scaleCount(input.scale);
      return count === 1 || count > 1 && input.axis !== undefined && this.#perChannel;
    });
  }

  /** Number of scales in a value; 0 if it is computed. */
  #scaleCount(name: string): number {
    const scale = this.#constants.get(name) ?? this.scales.get(name);
    return scale === undefined ? 0 : elementCount(scale.dims);
  }

  #inputs({ inputs }: OnFloats): string[] {
    const factors = inputs.filter((input) => typeof input !== "string" && "scale" in input);
    return inputs.map((input) => {
      if (typeof input === "string") return input;
      if ("scale" in input) return this.#dequantized(input);
      const [left, right] = factors.map(({ scale }) => toNumbers(this.#constants.get(scale)!));
      const scales = Float32Array.from(
        right,
        (value) => Math.fround(left[0] * value * input.factor),
      );
      const scale = this.#fresh(`${input.bias}.scale`);
      this.scales.set(scale, float32(scales.length === 1 ? [] : [scales.length], scales));
      return this.#dequantized({ value: input.bias, scale, zeroPoint: "", axis: 0 });
    });
  }

  #dequantized({ value, scale, zeroPoint, axis }: Operand): string {
    const key = [value, scale, zeroPoint, axis].join("\n");
    const found = this.#floats.get(key);
    if (found !== undefined) return found;
    const floats = this.#fresh(`${value}.float`);
    this.#floats.set(key, floats);
    const perChannel = axis !== undefined && this.#scaleCount(scale) > 1;
    const inputs = withScale(value, { scale, zeroPoint });
    const attributes: Attributes = perChannel ? { axis: int(axis) } : {};
    this.nodes.push(onnxNode("DequantizeLinear", inputs, floats, attributes));
    return floats;
  }

  #fresh(hint: string): string {
    const name = freeName(this.#names, hint);
    this.#names.add(name);
    return name;
  }
}

/** Inputs of QuantizeLinear and DequantizeLinear. */
const withScale = (value: string, { scale, zeroPoint }: Scale): string[] => [
  value,
  scale,
  ...zeroPoint === "" ? [] : [zeroPoint],
];

type Form = (node: Node, constant: (name: string) => Tensor | undefined) => OnFloats | undefined;

const FORMS: ReadonlyMap<string, Form> = new Map(Object.entries<Form>({
  QLinearMatMul: ({ inputs }, constant) => {
    const weight = constant(inputs[3]);
    return {
      opType: "MatMul",
      inputs: [operand(inputs, 0), operand(inputs, 3, weight && weight.dims.length - 1)],
      result: scaleAt(inputs, 6),
      attributes: {},
    };
  },
  QLinearConv: ({ inputs, attributes }) => ({
    opType: "Conv",
    inputs: [operand(inputs, 0), operand(inputs, 3, 0), ...biasAt(inputs, 8, 1)],
    result: scaleAt(inputs, 6),
    attributes,
  }),
  [`${MICROSOFT}.QGemm`]: (node) => {
    const { inputs } = node;
    const alpha = floatAttribute(node, "alpha", 1);
    const transB = intAttribute(node, "transB", 0);
    return {
      opType: "Gemm",
      inputs: [operand(inputs, 0), operand(inputs, 3, 1 - transB), ...biasAt(inputs, 6, alpha)],
      ...(inputs[7] ?? "") === "" ? {} : { result: scaleAt(inputs, 7) },
      attributes: {
        alpha: float(alpha),
        transA: int(intAttribute(node, "transA", 0)),
        transB: int(transB),
      },
    };
  },
  [`${MICROSOFT}.QLinearAdd`]: ofTwo("Add"),
  [`${MICROSOFT}.QLinearMul`]: ofTwo("Mul"),
  [`${MICROSOFT}.QLinearSigmoid`]: ofOne("Sigmoid"),
  [`${MICROSOFT}.QLinearLeakyRelu`]: ofOne("LeakyRelu", ["alpha"]),
  [`${MICROSOFT}.QLinearSoftmax`]: (node) => {
    // Before operator set 13 an axis flattened the dimensions after it, which has no effect for the last
    // axis.
    const flattens = intAttribute(node, "opset", 0) < PER_CHANNEL_SINCE;
    if (flattens && intAttribute(node, "axis", -1) !== -1) return undefined;
    return ofOne("Softmax", ["axis"])(node);
  },
  [`${MICROSOFT}.QLinearAveragePool`]: pooling("AveragePool"),
  [`${MICROSOFT}.QLinearGlobalAveragePool`]: pooling("GlobalAveragePool"),
  [`${MICROSOFT}.QLinearConcat`]: ({ inputs, attributes }) => {
    const parts: Operand[] = [];
    for (let i = 2; i < inputs.length; i += 3) parts.push(operand(inputs, i));
    return { opType: "Concat", inputs: parts, result: scaleAt(inputs, 0), attributes };
  },
  [`${MICROSOFT}.QLinearWhere`]: ({ inputs }) => ({
    opType: "Where",
    inputs: [inputs[0], operand(inputs, 1), operand(inputs, 4)],
    result: scaleAt(inputs, 7),
    attributes: {},
  }),
}));

function ofTwo(opType: string): (node: Node) => OnFloats {
  return ({ inputs }) => ({
    opType,
    inputs: [operand(inputs, 0), operand(inputs, 3)],
    result: scaleAt(inputs, 6),
    attributes: {},
  });
}

/** @param kept names of the attributes that the operator on floats also has */
function ofOne(opType: string, kept: readonly string[] = []): (node: Node) => OnFloats {
  return ({ inputs, attributes }) => ({
    opType,
    inputs: [operand(inputs, 0)],
    result: scaleAt(inputs, 3),
    attributes: Object.fromEntries(
      Object.entries(attributes).filter(([name]) => kept.includes(name)),
    ),
  });
}

function pooling(opType: string): Form {
  return (node) => {
    if (intAttribute(node, "channels_last", 0) !== 0) return undefined;
    const { channels_last: _, ...attributes } = node.attributes;
    return { ...ofOne(opType)(node), attributes };
  };
}

/** Reads a value with its scale and zero point, which follow it among the inputs. */
function operand(inputs: readonly string[], at: number, axis?: number): Operand {
  return { value: inputs[at], ...scaleAt(inputs, at + 1), axis };
}

const scaleAt = (inputs: readonly string[], at: number): Scale => ({
  scale: inputs[at],
  zeroPoint: inputs[at + 1] ?? "",
});

const biasAt = (inputs: readonly string[], at: number, factor: number): Bias[] =>
  (inputs[at] ?? "") === "" ? [] : [{ bias: inputs[at], factor }];
