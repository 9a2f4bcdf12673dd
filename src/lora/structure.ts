/**
 * Derives module paths from the graph's structure alone, for linears without names.
 *
 * Attention identifies q, k and v (their values reach the score product and the weighted sum with no
 * linear between) and o (its input comes from there). The linears between one layer's o and the next
 * layer's q are the feed-forward part. A gated feed-forward gets Llama's names, a plain one BERT's,
 * which users will try first.
 */
import { isFusedAttention } from "../graph/fused_attention.ts";
import type { Node } from "../graph/types.ts";
import { attends } from "../ops/kinds.ts";
import { kindOf, traitsOf } from "../ops/registry.ts";
import type { GraphIndex } from "./graph_index.ts";
import { quantiserOf } from "./integer_linear.ts";
import type { LinearForm } from "./linear_form.ts";

type Role = "q" | "k" | "v" | "qkv" | "o";

const LLAMA = {
  layer: (i: number) => `model.layers.${i}`,
  q: "self_attn.q_proj",
  k: "self_attn.k_proj",
  v: "self_attn.v_proj",
  qkv: "self_attn.qkv_proj",
  o: "self_attn.o_proj",
  down: "mlp.down_proj",
  head: "lm_head",
};
const BERT = {
  layer: (i: number) => `encoder.layer.${i}`,
  q: "attention.self.query",
  k: "attention.self.key",
  v: "attention.self.value",
  qkv: "attention.self.qkv",
  o: "attention.output.dense",
  down: "output.dense",
  head: "classifier",
};

/** Paths of those linears whose position in the graph is unambiguous. */
export function pathsFromStructure(
  index: GraphIndex,
  linears: readonly LinearForm[],
): ReadonlyMap<LinearForm, string> {
  const walls = new Set<Node>(linears.flatMap(({ node }) => {
    const quantiser = quantiserOf(index, node.inputs[0]);
    return quantiser === undefined ? [node] : [node, quantiser];
  }));
  for (const node of index.graph.nodes) if (isFusedAttention(node)) walls.add(node);
  const roles = new Map(linears.map((linear) => [linear, roleOf(index, linear, walls)]));
  const layers = layersOf(linears, roles);
  const gated = layers.some(({ rest }) => sharingInput(rest).length === 2);
  const names = gated ? LLAMA : BERT;
  const paths = new Map<LinearForm, string>();
  layers.forEach(({ attention, rest }, i) => {
    const name = (linear: LinearForm, leaf: string) =>
      paths.set(linear, `${names.layer(i)}.${leaf}`);
    for (const [linear, role] of attention) name(linear, names[role]);
    const first = sharingInput(rest);
    const down = rest[first.length];
    if (down === undefined) return;
    if (gated && first.length === 2) {
      for (const linear of first) {
        const gate = reachesActivation(index, linear, walls);
        name(linear, gate ? "mlp.gate_proj" : "mlp.up_proj");
      }
      name(down, names.down);
    } else if (!gated && first.length === 1) {
      name(first[0], "intermediate.dense");
      name(down, names.down);
    }
  });
  for (const linear of linears) {
    if (index.isOutput(linear.bias?.output ?? linear.output)) paths.set(linear, names.head);
  }
  return paths;
}

interface Layer {
  readonly attention: ReadonlyMap<LinearForm, Role>;
  /** Linears after this layer's o and before the next layer's q, k, v. */
  readonly rest: readonly LinearForm[];
}

/** Splits linears, which come in topological order, at each attention output. */
function layersOf(
  linears: readonly LinearForm[],
  roles: ReadonlyMap<LinearForm, Role | undefined>,
): readonly Layer[] {
  const layers: { attention: Map<LinearForm, Role>; rest: LinearForm[] }[] = [];
  let closed = true;
  for (const linear of linears) {
    const role = roles.get(linear);
    if (role === undefined) {
      layers.at(-1)?.rest.push(linear);
      continue;
    }
    if (closed && role !== "o") layers.push({ attention: new Map(), rest: [] });
    layers.at(-1)?.attention.set(linear, role);
    closed = role === "o";
  }
  return layers;
}

/** The leading linears that read the same value. */
function sharingInput(rest: readonly LinearForm[]): readonly LinearForm[] {
  return rest.filter((linear) => linear.input === rest[0].input);
}

function roleOf(index: GraphIndex, linear: LinearForm, walls: ReadonlySet<Node>): Role | undefined {
  if (isFusedAttention(linear.node)) return "qkv";
  const found = new Set<Role>();
  forward(index, linear.output, walls, (value, reader) => {
    const role = attentionOperand(index, value, reader);
    if (role !== undefined) found.add(role);
    return role === undefined;
  });
  if (found.size === 1) return [...found][0];
  if (found.size > 1) return undefined;
  return comesFromAttention(index, linear.input, walls) ? "o" : undefined;
}

/** The operand of an attention that `value` is for `reader`; "qkv" if one value has all three. */
function attentionOperand(index: GraphIndex, value: string, reader: Node): Role | undefined {
  const at = reader.inputs.indexOf(value);
  if (attends(reader)) {
    const packed = reader.inputs[1] === "" || reader.inputs[1] === undefined;
    return packed ? "qkv" : (["q", "k", "v"] as const)[at];
  }
  if (!isProduct(index, reader)) return undefined;
  if (at === 1 && comesFrom(index, reader.inputs[0], "Softmax", 4)) return "v";
  return at === 0 ? "q" : "k";
}

/** Whether a node is a MatMul of two activations. */
function isProduct(index: GraphIndex, node: Node): boolean {
  return node.opType === "MatMul" &&
    node.inputs.every((value) => index.constant(value) === undefined);
}

/** Whether an operator of this type is at most `depth` nodes before `value`. */
function comesFrom(index: GraphIndex, value: string, opType: string, depth: number): boolean {
  const node = index.producer(value);
  if (node === undefined || depth === 0) return false;
  return node.opType === opType ||
    node.inputs.some((input) => input !== "" && comesFrom(index, input, opType, depth - 1));
}

/** Whether `value` is an attention's result, only reshaped. */
function comesFromAttention(index: GraphIndex, value: string, walls: ReadonlySet<Node>): boolean {
  // A loop, because a chain may have any length.
  for (let node = index.producer(value); node !== undefined;) {
    if (attends(node)) return true;
    if (walls.has(node)) return false;
    if (isProduct(index, node)) return comesFrom(index, node.inputs[0], "Softmax", 4);
    const isReshaped = traitsOf(node).memory === "view" || node.opType === "Transpose";
    if (!isReshaped && node.opType !== "Cast") return false;
    node = index.producer(node.inputs[0]);
  }
  return false;
}

function reachesActivation(
  index: GraphIndex,
  linear: LinearForm,
  walls: ReadonlySet<Node>,
): boolean {
  let found = false;
  // The other branch ends at the down projection; the gate's passes an activation function before it.
  forward(index, linear.output, walls, (_, reader) => {
    if (kindOf(reader) === "activation") found = true;
    return !found;
  });
  return found;
}

/**
 * Visits readers of `value` and of their results, up to the next linear; `visit` returns whether to
 * continue.
 */
function forward(
  index: GraphIndex,
  value: string,
  walls: ReadonlySet<Node>,
  visit: (value: string, reader: Node) => boolean,
): void {
  const queue = [value];
  const seen = new Set(queue);
  for (let now = queue.pop(); now !== undefined; now = queue.pop()) {
    for (const reader of index.consumers(now)) {
      // A shape carries no activation: the value reshaped with it is another one.
      if (reader.opType === "Shape" || walls.has(reader) || !visit(now, reader)) continue;
      for (const output of reader.outputs) {
        if (output === "" || seen.has(output)) continue;
        seen.add(output);
        queue.push(output);
      }
    }
  }
}
