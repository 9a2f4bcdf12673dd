/**
 * BatchNormalization (inference), InstanceNormalization, GroupNormalization and LpNormalization:
 * for training all become arithmetic.
 */
import { floatAttribute, int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { label, unsupported } from "./args.ts";
import { normalizeAxis, product, range } from "./axes.ts";
import { mean, scalarLike } from "./broadcast.ts";
import { inferLikeInput } from "./like_input.ts";
import type { Kind } from "./traits.ts";
import type { LoweredRule, OpRule, OpsetContext } from "./types.ts";

/** A rule whose output is shaped like its first input and which only lowers. */
function likeInput(
  facts: Pick<LoweredRule, "opType" | "since" | "attributes" | "inputs" | "outputs" | "remark">,
  kind: Kind,
  lower: (b: GraphBuilder, node: Node, context: OpsetContext) => string,
): LoweredRule {
  return {
    ...facts,
    domain: "",
    traits: { kind, rows: "mixed" },
    infer: inferLikeInput,
    lower: (b, node, context) => [lower(b, node, context)],
  };
}

/** One number per channel, [C], made to broadcast along axis 1 of a value of the given rank. */
function perChannel(b: GraphBuilder, value: string, rank: number): string {
  return b.reshape(value, range(rank).map((axis) => axis === 1 ? product(b.dims(value)) : 1));
}

/** 1/√(variance + ε) */
function inverse(b: GraphBuilder, variance: string, epsilon: number): string {
  const shifted = b.op("Add", [variance, scalarLike(b, variance, epsilon)]);
  return b.op("Reciprocal", [b.op("Sqrt", [shifted])]);
}

/** (value - mean)/√(variance + ε) over the given axes. */
function standardize(
  b: GraphBuilder,
  value: string,
  axes: readonly number[],
  epsilon: number,
): string {
  const centred = b.op("Sub", [value, mean(b, value, axes)]);
  const variance = mean(b, b.op("Mul", [centred, centred]), axes);
  return b.op("Mul", [centred, inverse(b, variance, epsilon)]);
}

const epsilonOf = (node: Node) => floatAttribute(node, "epsilon", 1e-5);

const BatchNormalization = likeInput(
  {
    opType: "BatchNormalization",
    since: 7,
    attributes: ["epsilon", "momentum", /* training only */ "spatial", "training_mode"],
    inputs: "5",
    outputs: "1..5",
    remark: "inference",
  },
  "normalization",
  (b, node) => {
    if (intAttribute(node, "training_mode", 0) !== 0) {
      throw unsupported(node, `attribute "training_mode" must be 0`);
    }
    if (intAttribute(node, "spatial", 1) !== 1) {
      throw unsupported(node, `attribute "spatial" must be 1`);
    }
    if (node.outputs.slice(1).some((name) => name !== "")) {
      throw unsupported(node, "it has more outputs than Y");
    }
    const [x, scale, bias, centre, variance] = node.inputs;
    const rank = b.dims(x).length;
    const gain = b.op("Mul", [scale, inverse(b, variance, epsilonOf(node))]);
    const shift = b.op("Sub", [bias, b.op("Mul", [centre, gain])]);
    const scaled = b.op("Mul", [x, perChannel(b, gain, rank)]);
    return b.op("Add", [scaled, perChannel(b, shift, rank)]);
  },
);

/** y = normalised·scale + bias with one scale and one bias per channel. */
function affine(b: GraphBuilder, normal: string, scale: string, bias: string): string {
  const rank = b.dims(normal).length;
  const scaled = b.op("Mul", [normal, perChannel(b, scale, rank)]);
  return b.op("Add", [scaled, perChannel(b, bias, rank)]);
}

const InstanceNormalization = likeInput(
  { opType: "InstanceNormalization", since: 7, attributes: ["epsilon"], inputs: "3", outputs: "1" },
  "channel normalization",
  (b, node) => {
    const [x, scale, bias] = node.inputs;
    const spatial = range(b.dims(x).length).slice(2);
    return affine(b, standardize(b, x, spatial, epsilonOf(node)), scale, bias);
  },
);

const GroupNormalization = likeInput(
  {
    opType: "GroupNormalization",
    since: 18,
    attributes: ["epsilon", "num_groups", "stash_type"],
    inputs: "3",
    outputs: "1",
    remark: "one scale a channel",
  },
  "channel normalization",
  (b, node, { opset }) => {
    const [x, scale, bias] = node.inputs;
    const dims = b.dims(x);
    const groups = intAttribute(node, "num_groups", 0);
    if (groups < 1 || dims[1] % groups !== 0) {
      throw new RangeError(
        `${label(node)}: num_groups must divide ${dims[1]} channels: current value is ${groups}`,
      );
    }
    // Before operator set 21 there was one scale per group, not one per channel.
    if (opset < 21 && b.dims(scale)[0] !== dims[1]) {
      throw unsupported(node, "it has one scale a group, as operator sets before 21 do");
    }
    const grouped = b.reshape(x, [dims[0], groups, product(dims, 1) / groups]);
    return affine(b, b.reshape(standardize(b, grouped, [2], epsilonOf(node)), dims), scale, bias);
  },
);

const LpNormalization = likeInput(
  { opType: "LpNormalization", since: 7, attributes: ["axis", "p"], inputs: "1", outputs: "1" },
  "normalization",
  (b, node) => {
    const [x] = node.inputs;
    const p = intAttribute(node, "p", 2);
    const axis = normalizeAxis(node, intAttribute(node, "axis", -1), b.dims(x).length);
    const norm = b.op(p === 1 ? "ReduceL1" : "ReduceL2", [x, b.int64s([axis])], {
      keepdims: int(1),
    });
    // ONNX Runtime gives 0 where the norm is 0.
    const none = b.op("Equal", [norm, scalarLike(b, norm, 0)]);
    return b.op("Div", [x, b.op("Where", [none, scalarLike(b, norm, 1), norm])]);
  },
);

export const CHANNEL_NORMALIZATION_RULES: readonly OpRule[] = [
  BatchNormalization,
  InstanceNormalization,
  GroupNormalization,
  LpNormalization,
];
