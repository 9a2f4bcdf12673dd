/**
 * com.microsoft.RotaryEmbedding: rotates pairs of channels by an angle that grows with the position.
 *
 * The kernel is kept in training graphs (one pass, 14 times faster than the same in single
 * operators). A rotation's transpose is the rotation by the opposite angle, so its gradient is the
 * operator itself with the sines negated.
 */
import { intAttribute } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { mapped } from "../../graph/extents.ts";
import { isAtMost, productOf } from "../../graph/extent_arithmetic.ts";
import { float32, type Tensor, toNumbers } from "../../graph/tensor.ts";
import { MICROSOFT } from "../../graph/types.ts";
import { mixed } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { requireAttribute, requiredKnown, shared } from "./support.ts";

/** The sines with their signs changed; a constant if they are one. */
function negated(b: GraphBuilder, sines: string): string {
  return shared(b, `negated ${sines}`, () => {
    const { value, dtype } = b.known(sines);
    const isFolded = value !== undefined && dtype === "float32" &&
      isAtMost(productOf(b.shape(sines)), 1 << 22);
    if (!isFolded) return b.op("Neg", [sines]);
    const opposite = (t: Tensor) =>
      float32(t.dims, Float32Array.from(toNumbers(t), (v) => -v)).bytes;
    return b.constant(mapped(value, "negated", opposite), `${sines}.negated`);
  });
}

export const RotaryEmbedding: OpRule = {
  opType: "RotaryEmbedding",
  domain: MICROSOFT,
  since: 1,
  attributes: ["num_heads", "rotary_embedding_dim", "interleaved", "is_packed_batching", "scale"],
  inputs: "4",
  outputs: "1",
  remark: "without packed batches and scale",
  traits: mixed("other"),

  infer(node, inputs) {
    requireAttribute(node, "is_packed_batching", 0);
    requireAttribute(node, "scale", 1);
    const { dtype, dims } = requiredKnown(node, "input", inputs, 0);
    if (dims.length !== 3 && dims.length !== 4) {
      throw new RangeError(
        `Input "input" of RotaryEmbedding "${node.name}" must have 3 or 4 dimensions: current shape is [${dims}]`,
      );
    }
    if (intAttribute(node, "rotary_embedding_dim", 0) > 0 && dims.length === 3) {
      const heads = intAttribute(node, "num_heads", 0);
      if (heads < 1 || dims[2] % heads !== 0) {
        throw new RangeError(
          `Attribute "num_heads" of RotaryEmbedding "${node.name}" must divide the hidden size ${
            dims[2]
          }: current value is ${heads}`,
        );
      }
    }
    return [{ dtype, dims }];
  },

  vjp(b, node, [ct], wanted) {
    const [, positions, cosines, sines] = node.inputs;
    const result: (string | undefined)[] = node.inputs.map(() => undefined);
    if (ct !== undefined && wanted[0]) {
      const inputs = [ct, positions, cosines, negated(b, sines)];
      result[0] = b.microsoft("RotaryEmbedding", inputs, node.attributes);
    }
    return result;
  },
};
