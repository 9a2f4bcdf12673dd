/**
 * How a graph turns a layer's keys by their positions (rotary embeddings).
 *
 * PEFT stores the keys of a prefix as the attention reads them, turned. A graph is given what its linear layer
 * computes, before that: key = stored ⊙ cos + swapped ⊙ sin, which turns back.
 */
import { UsageError } from "../../errors.ts";
import { intAttribute } from "../../graph/attributes.ts";
import { float32, int64, type Tensor, toNumbers } from "../../graph/tensor.ts";
import type { Node } from "../../graph/types.ts";
import { traitsOf } from "../../ops/registry.ts";
import { attends, multiplies } from "../../ops/kinds.ts";
import type { GraphIndex } from "../graph_index.ts";
import type { LinearModule } from "../modules.ts";

/** Turns stored keys back, [positions, width]; absent tensors: the graph does not turn keys. */
export interface KeyRotation {
  readonly headSize: number;
  readonly back?: {
    /** [positions, width] */
    readonly cos: Tensor;
    /** [positions, width], with the sign of each half. */
    readonly sin: Tensor;
    /** For each column that of its partner, [width]. */
    readonly partner: Tensor;
  };
}

/** Angles by position and pair, before they are laid out over heads. */
interface Angles {
  readonly headSize: number;
  /** Pairs of a head that turn. */
  readonly pairs: number;
  cos(position: number, pair: number): number;
  sin(position: number, pair: number): number;
}

/** Operators between a linear layer's keys and the attention that a prefix can be carried through. */
const PASSED: ReadonlySet<string> = new Set(
  ("Add Cast Concat Expand Flatten Identity Mul Neg Reshape RotaryEmbedding Slice Split Squeeze " +
    "Transpose Unsqueeze").split(" "),
);

/**
 * Finds how the keys of a layer are turned at the first `count` positions.
 *
 * @throws {UsageError} if the graph computes more of them than that, or how cannot be told
 */
export function keyRotation(index: GraphIndex, keys: LinearModule, count: number): KeyRotation {
  const refuse = (why: string): never => {
    throw new UsageError((name) =>
      `Cannot add a prefix to "${keys.path}" (${name("adapterType", "prefix_tuning")}): ${why}`
    );
  };
  const path = readersOf(index, keys.bias?.output ?? keys.output);
  const strange = path.find((node) => !attends(node) && !multiplies(node) && !isPassed(node));
  if (strange !== undefined) refuse(`its keys pass ${strange.opType} before the attention`);
  const angles = fusedAngles(index, path, keys, refuse) ?? tracedAngles(index, path, keys, refuse);
  const { headSize } = angles;
  if (keys.outFeatures % headSize !== 0) refuse(`its heads are not of ${headSize} columns`);
  return angles.pairs === 0 ? { headSize } : { headSize, back: laidOut(angles, keys, count) };
}

const isPassed = (node: Node) => PASSED.has(node.opType) || traitsOf(node).memory === "view";

/** All nodes that read a value up to the attention: its products, or one operator. */
function readersOf(index: GraphIndex, value: string): readonly Node[] {
  const found = new Set<Node>();
  const queue = [value];
  for (let now = queue.pop(); now !== undefined; now = queue.pop()) {
    for (const reader of index.consumers(now)) {
      if (found.has(reader) || reader.opType === "Shape") continue;
      found.add(reader);
      if (!attends(reader) && !multiplies(reader)) queue.push(...reader.outputs);
    }
  }
  return [...found];
}

type Refuse = (why: string) => never;

/** The angles of an operator that turns keys by tables; `undefined` if there is none. */
function fusedAngles(
  index: GraphIndex,
  path: readonly Node[],
  keys: LinearModule,
  refuse: Refuse,
): Angles | undefined {
  const group = path.find((node) => node.opType === "GroupQueryAttention");
  const turning = path.find((node) => node.opType === "RotaryEmbedding") ??
    (group !== undefined && intAttribute(group, "do_rotary", 0) === 1 ? group : undefined);
  const heads = group === undefined ? 0 : intAttribute(group, "kv_num_heads", 0);
  const fromHeads = heads > 0 ? keys.outFeatures / heads : undefined;
  if (turning === undefined) {
    return fromHeads === undefined
      ? undefined
      : { headSize: fromHeads, pairs: 0, cos: () => 1, sin: () => 0 };
  }
  const interleaved = turning === group ? "rotary_interleaved" : "interleaved";
  if (intAttribute(turning, interleaved, 0) !== 0) {
    refuse("its keys are turned in interleaved pairs");
  }
  const at = turning === group ? 7 : turning.domain === "" ? 1 : 2;
  const [cos, sin] = [at, at + 1].map((i) => index.constant(turning.inputs[i] ?? ""));
  if (cos?.dims.length !== 2 || sin === undefined) {
    return refuse("the angles of its positions are not in the graph's tables");
  }
  const pairs = cos.dims[1];
  const [cosines, sines] = [toNumbers(cos), toNumbers(sin)];
  return {
    headSize: fromHeads ?? 2 * pairs,
    pairs,
    cos: (position, pair) => cosines[position * pairs + pair],
    sin: (position, pair) => sines[position * pairs + pair],
  };
}

/** The angles that a graph of single operators computes from frequencies. */
function tracedAngles(
  index: GraphIndex,
  path: readonly Node[],
  keys: LinearModule,
  refuse: Refuse,
): Angles {
  const headSize = headSizeOf(index, path, keys) ?? refuse("the size of its heads is not stated");
  const cosine = index.graph.nodes.find((node) => node.opType === "Cos");
  if (cosine === undefined) return { headSize, pairs: 0, cos: () => 1, sin: () => 0 };
  const frequencies = frequenciesOf(index, cosine.inputs[0], headSize / 2) ??
    refuse("the frequencies of its positions are not in the graph");
  // Some models multiply cosines and sines by a factor.
  const scaled = index.consumers(cosine.outputs[0]).some((node) =>
    node.opType === "Mul" && node.inputs.some((input) => index.constant(input) !== undefined)
  );
  if (scaled) refuse("its keys are turned and scaled");
  return {
    headSize,
    pairs: frequencies.length,
    cos: (position, pair) => Math.cos(position * frequencies[pair]),
    sin: (position, pair) => Math.sin(position * frequencies[pair]),
  };
}

/** The last entry of the shape that splits keys into heads. */
function headSizeOf(
  index: GraphIndex,
  path: readonly Node[],
  { outFeatures }: LinearModule,
): number | undefined {
  for (const node of path) {
    if (node.opType !== "Reshape") continue;
    const shape = node.inputs[1];
    const maker = index.producer(shape);
    const last = maker?.opType === "Concat" ? maker.inputs.at(-1)! : shape;
    const entries = index.constant(last);
    const size = entries && Array.from(toNumbers(entries), Number).at(-1);
    if (size !== undefined && size > 0 && outFeatures % size === 0) return size;
  }
  return undefined;
}

/** Constant frequencies that an angle is computed from, one for each pair. */
function frequenciesOf(
  index: GraphIndex,
  value: string,
  pairs: number,
  depth = 8,
): readonly number[] | undefined {
  const constant = index.constant(value);
  if (constant !== undefined) {
    const isOne = constant.dtype === "float32" &&
      constant.dims.reduce((a, b) => a * b, 1) === pairs;
    return isOne ? Array.from(toNumbers(constant), Number) : undefined;
  }
  const maker = index.producer(value);
  if (maker === undefined || depth === 0) return undefined;
  for (const input of maker.inputs) {
    const found = frequenciesOf(index, input, pairs, depth - 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The angles over all heads. */
function laidOut(angles: Angles, { outFeatures: width }: LinearModule, count: number) {
  const { headSize, pairs } = angles;
  const cos = new Float32Array(count * width).fill(1);
  const sin = new Float32Array(count * width);
  const partner = Array.from({ length: width }, (_, column) => {
    const within = column % headSize;
    if (within >= 2 * pairs) return column;
    return within < pairs ? column + pairs : column - pairs;
  });
  for (let position = 0; position < count; position++) {
    for (let column = 0; column < width; column++) {
      const within = column % headSize;
      if (within >= 2 * pairs) continue;
      const at = position * width + column;
      cos[at] = angles.cos(position, within % pairs);
      sin[at] = (within < pairs ? 1 : -1) * angles.sin(position, within % pairs);
    }
  }
  return {
    cos: float32([count, width], cos),
    sin: float32([count, width], sin),
    partner: int64([width], partner),
  };
}
