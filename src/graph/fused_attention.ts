/**
 * ONNX Runtime's self-attention with the projections of queries, keys and values inside:
 * `com.microsoft.Attention`, and `QAttention` over 8-bit integers.
 */
import { BadInputError } from "../errors.ts";
import { intsAttribute } from "./attributes.ts";
import { MICROSOFT, type Node } from "./types.ts";

/** The operators' inputs by name; "" for an absent one. */
export interface FusedAttentionInputs {
  /** Activations [batch, tokens, in]: floats or quantised integers. */
  readonly input: string;
  /** [in, queries + keys + values] */
  readonly weight: string;
  readonly bias: string;
  readonly mask: string;
  readonly past: string;
  /** Of Attention only. */
  readonly attentionBias: string;
  /** Of QAttention only. */
  readonly inputScale: string;
  readonly weightScale: string;
  readonly inputZeroPoint: string;
  readonly weightZeroPoint: string;
}

/** Whether a node is one of the two operators. */
export function isFusedAttention({ domain, opType }: Node): boolean {
  return domain === MICROSOFT && (opType === "Attention" || opType === "QAttention");
}

/** Inputs of a fused attention node. */
export function fusedAttentionInputs({ opType, inputs }: Node): FusedAttentionInputs {
  const at = (i: number) => inputs[i] ?? "";
  const common = { input: at(0), weight: at(1), bias: at(2) };
  return opType === "QAttention"
    ? {
      ...common,
      inputScale: at(3),
      weightScale: at(4),
      mask: at(5),
      inputZeroPoint: at(6),
      weightZeroPoint: at(7),
      past: at(8),
      attentionBias: "",
    }
    : {
      ...common,
      mask: at(3),
      past: at(4),
      attentionBias: at(5),
      inputScale: "",
      weightScale: "",
      inputZeroPoint: "",
      weightZeroPoint: "",
    };
}

/** The `Attention` over floats that replaces a `QAttention`. */
export function floatAttention(node: Node, input: string, weight: string): Node {
  const { bias, mask, past } = fusedAttentionInputs(node);
  return { ...node, opType: "Attention", inputs: [input, weight, bias, mask, past] };
}

/**
 * Output columns of queries, keys and values.
 *
 * @param total columns of the weight
 * @throws {BadInputError} if the node's sizes do not add up to `total`
 */
export function hiddenSizes(node: Node, total: number): readonly number[] {
  const sizes = intsAttribute(node, "qkv_hidden_sizes", [total / 3, total / 3, total / 3]);
  const isSound = sizes.every((size) => Number.isSafeInteger(size) && size > 0);
  if (!isSound || sizes.length !== 3 || sizes.reduce((sum, size) => sum + size, 0) !== total) {
    throw new BadInputError(
      `Attribute "qkv_hidden_sizes" of com.microsoft.Attention "${node.name}" must be 3 sizes that add up to ${total}: current value is [${sizes}]`,
    );
  }
  return sizes;
}
