/**
 * Rewrites a user's graph so that activations stay floats where it quantises them.
 *
 * Gradients are defined on exactly the dequantised weights with float activations, so for training
 *
 * - DynamicQuantizeLinear → MatMulInteger → Cast → Mul by both scales (in either order), or
 *   MatMulIntegerToFloat, becomes DequantizeLinear of the weights and MatMul; QAttention becomes
 *   Attention in the same way;
 * - QuantizeLinear → DequantizeLinear around an activation, with nothing or only moves of elements between
 *   them, becomes the activation itself (the straight-through estimator, with the rounding left out of the
 *   forward pass too).
 *
 * Results keep their names. Inference still runs the user's graph; `graft train` prints how far the two
 * differ.
 */
import { intAttribute } from "../../graph/attributes.ts";
import { ONNX_TYPE } from "../../graph/dtype.ts";
import { floatAttention, fusedAttentionInputs } from "../../graph/fused_attention.ts";
import { constantsOf } from "../../graph/passes/constants.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { Graph, Node } from "../../graph/types.ts";
import { verify } from "../../graph/verify.ts";
import { kindOf } from "../registry.ts";
import { FloatWeights } from "./float_weights.ts";

/** A quantised activation and the floats that it stands for. */
interface Twin {
  readonly float: string;
  readonly scale: string;
  readonly zeroPoint: string;
}

/** An integer product on its way to floats, with the scales it has been multiplied by so far. */
interface Product {
  readonly node: Node;
  readonly left: Twin;
  readonly scaledByLeft: boolean;
  readonly weightScale?: string;
}

/** See the module. Nodes that nothing reads any more are left to `prune`. */
export function rewriteDynamicQuantization(graph: Graph): Graph {
  return new Rewriter(graph).graph();
}

class Rewriter {
  readonly #source: Graph;
  /** Initializers and the contents of Constant nodes. */
  readonly #constants: ReadonlyMap<string, Tensor>;
  readonly #weights: FloatWeights;
  readonly #nodes: Node[] = [];
  readonly #twins = new Map<string, Twin>();
  readonly #products = new Map<string, Product>();
  /** Scale of an activation times scale of a weight, by the name of their product. */
  readonly #scales = new Map<string, { readonly left: string; readonly weight: string }>();

  constructor(graph: Graph) {
    this.#source = graph;
    this.#constants = constantsOf(graph);
    this.#weights = new FloatWeights(graph, this.#constants);
  }

  graph(): Graph {
    for (const node of this.#source.nodes) {
      this.#nodes.push(...this.#rewritten(node) ?? [node]);
    }
    const initializers = new Map([...this.#source.initializers, ...this.#weights.parameters]);
    const rewritten = { ...this.#source, nodes: this.#nodes, initializers };
    return verify(rewritten, "rewriteDynamicQuantization()");
  }

  /** The nodes that replace a node, `undefined` to keep it. */
  #rewritten(node: Node): readonly Node[] | undefined {
    switch (node.opType) {
      case "DynamicQuantizeLinear": {
        const [quantized, scale, zeroPoint] = node.outputs;
        this.#twins.set(quantized, { float: node.inputs[0], scale, zeroPoint });
        return undefined;
      }
      case "QuantizeLinear": {
        const [float, scale, zeroPoint = ""] = node.inputs;
        if (!this.#constants.has(float)) {
          this.#twins.set(node.outputs[0], { float, scale, zeroPoint });
        }
        return undefined;
      }
      case "DequantizeLinear":
        return this.#dequantized(node);
      case "MatMulInteger":
        return this.#integerProduct(node);
      case "MatMulIntegerToFloat":
        return this.#productToFloat(node);
      case "QAttention":
        return this.#attention(node);
      case "Cast": {
        const product = this.#products.get(node.inputs[0]);
        const toFloat = intAttribute(node, "to", 0) === ONNX_TYPE.float32;
        if (product !== undefined && toFloat) this.#products.set(node.outputs[0], product);
        return undefined;
      }
      case "Mul":
        return this.#scaled(node);
      default:
        return this.#moved(node);
    }
  }

  /** Moves the floats along with the integers. */
  #moved(node: Node): readonly Node[] | undefined {
    const twin = this.#twins.get(node.inputs[0]);
    const kind = kindOf(node);
    const moves = node.domain === "" && (kind === "movement" || kind === "lookup");
    if (twin === undefined || !moves) return undefined;
    const floats = node.outputs.map((output) => {
      const float = this.#weights.fresh(`${output}.float`);
      this.#twins.set(output, { ...twin, float });
      return float;
    });
    return [node, {
      ...node,
      name: floats[0],
      inputs: [twin.float, ...node.inputs.slice(1)],
      outputs: floats,
    }];
  }

  #dequantized(node: Node): readonly Node[] | undefined {
    const [quantized, scale, zeroPoint = ""] = node.inputs;
    const twin = this.#twins.get(quantized);
    if (twin === undefined) return undefined;
    if (!this.#same(scale, twin.scale) || !this.#same(zeroPoint, twin.zeroPoint)) return undefined;
    return [{
      name: node.name,
      opType: "Identity",
      domain: "",
      inputs: [twin.float],
      outputs: node.outputs,
      attributes: {},
    }];
  }

  /** Whether two values are the same value, or constants with the same bytes. */
  #same(a: string, b: string): boolean {
    if (a === b) return true;
    const [x, y] = [this.#constants.get(a), this.#constants.get(b)];
    return x !== undefined && y !== undefined && x.dtype === y.dtype &&
      x.bytes.length === y.bytes.length && x.bytes.every((byte, i) => byte === y.bytes[i]);
  }

  #integerProduct(node: Node): undefined {
    const [a, b, aZero = "", bZero = ""] = node.inputs;
    const left = this.#twins.get(a);
    if (left === undefined || !this.#same(aZero, left.zeroPoint)) return;
    if (!this.#constants.has(b) || (bZero !== "" && !this.#constants.has(bZero))) return;
    this.#products.set(node.outputs[0], { node, left, scaledByLeft: false });
  }

  #productToFloat(node: Node): readonly Node[] | undefined {
    const [a, b, aScale, bScale, aZero = "", bZero = "", bias = ""] = node.inputs;
    const left = this.#twins.get(a);
    if (left === undefined) return undefined;
    if (!this.#same(aScale, left.scale) || !this.#same(aZero, left.zeroPoint)) return undefined;
    const constants = [b, bScale, bZero].filter((name) => name !== "");
    if (!constants.every((name) => this.#constants.has(name))) return undefined;
    if (bias === "") return this.#floatProduct(node.name, left, b, bScale, bZero, node.outputs[0]);
    const product = this.#weights.fresh(`${node.outputs[0]}.unbiased`);
    return [...this.#floatProduct(node.name, left, b, bScale, bZero, product), {
      name: `${node.name}.bias`,
      opType: "Add",
      domain: "",
      inputs: [product, bias],
      outputs: node.outputs,
      attributes: {},
    }];
  }

  #attention(node: Node): readonly Node[] | undefined {
    const { input, inputScale, inputZeroPoint, weight, weightScale, weightZeroPoint } =
      fusedAttentionInputs(node);
    const left = this.#twins.get(input);
    if (left === undefined) return undefined;
    if (!this.#same(inputScale, left.scale)) return undefined;
    if (!this.#same(inputZeroPoint, left.zeroPoint)) return undefined;
    const constants = [weight, weightScale, weightZeroPoint].filter((name) => name !== "");
    if (!constants.every((name) => this.#constants.has(name))) return undefined;
    const [nodes, dequantized] = this.#weights.dequantized(weight, weightScale, weightZeroPoint);
    return [...nodes, floatAttention(node, left.float, dequantized)];
  }

  /** A Mul that applies scales to an integer product, or multiplies two scales first. */
  #scaled(node: Node): readonly Node[] | undefined {
    for (const [x, y] of [node.inputs, [node.inputs[1], node.inputs[0]]]) {
      const product = this.#products.get(x);
      if (product === undefined) {
        if (this.#constants.has(y)) {
          this.#scales.set(node.outputs[0], { left: x, weight: y });
        }
        continue;
      }
      const next = this.#withScale(product, y);
      if (next === undefined) return undefined;
      this.#products.set(node.outputs[0], next);
      if (!next.scaledByLeft || next.weightScale === undefined) return undefined;
      const [, weight, , zero = ""] = next.node.inputs;
      return this.#floatProduct(
        next.node.name,
        next.left,
        weight,
        next.weightScale,
        zero,
        node.outputs[0],
      );
    }
    return undefined;
  }

  #withScale(product: Product, factor: string): Product | undefined {
    if (factor === product.left.scale && !product.scaledByLeft) {
      return { ...product, scaledByLeft: true };
    }
    if (this.#constants.has(factor) && product.weightScale === undefined) {
      return { ...product, weightScale: factor };
    }
    const both = this.#scales.get(factor);
    if (both === undefined || both.left !== product.left.scale) return undefined;
    if (product.scaledByLeft || product.weightScale !== undefined) return undefined;
    return { ...product, scaledByLeft: true, weightScale: both.weight };
  }

  /** MatMul with the dequantised weights into `output`. */
  #floatProduct(
    name: string,
    left: Twin,
    weight: string,
    scale: string,
    zeroPoint: string,
    output: string,
  ): readonly Node[] {
    const [nodes, dequantized] = this.#weights.dequantized(weight, scale, zeroPoint);
    return [...nodes, {
      name,
      opType: "MatMul",
      domain: "",
      inputs: [left.float, dequantized],
      outputs: [output],
      attributes: {},
    }];
  }
}
