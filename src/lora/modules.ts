/** Finds the linear layers of a user's graph and their Hugging Face names. */
import { equals } from "@std/bytes/equals";
import { intAttribute } from "../graph/attributes.ts";
import { hiddenSizes, isFusedAttention } from "../graph/fused_attention.ts";
import { toNumbers } from "../graph/tensor.ts";
import { type Model, type Node, operatorName } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { type GraphIndex, indexGraph } from "./graph_index.ts";
import { linearForm } from "./linear.ts";
import type { LinearForm } from "./linear_form.ts";
import { type LinearName, nameLinears } from "./name_linears.ts";
import { layerOf } from "./names.ts";

/** A linear layer under its Hugging Face name; one slice of a fused qkv counts as a separate layer. */
export interface LinearModule extends LinearForm {
  /** Module path as transformers and PEFT write it: `model.layers.0.self_attn.q_proj`. */
  readonly path: string;
  /** Number of its layer, `undefined` outside the layers. */
  readonly layer?: number;
  /** Whether it computes the model's logits: PEFT's `all-linear` leaves such heads out. */
  readonly head: boolean;
  /**
   * Further calls of the layer with the same weight: in ALBERT every layer after the first, in DeBERTa
   * the positions. An adapter of the layer applies to every call.
   */
  readonly again?: readonly LinearForm[];
}

/** All calls of a layer, itself first. */
export const callsOf = (module: LinearModule): readonly LinearForm[] => [
  module,
  ...module.again ?? [],
];

/**
 * Finds every weight-bearing linear of a model.
 *
 * Names come from node metadata, node names, weight and bias names, in this order, otherwise from the
 * graph's structure; a linear without any of these is named by its output value.
 *
 * @param options.allowAmbiguous keeps modules that share a path instead of refusing, for listings
 * @returns modules in the graph's order
 * @throws {BadInputError} if two linears claim one path, naming both
 */
export function findModules(
  model: Model,
  options: { readonly allowAmbiguous?: boolean } = {},
): readonly LinearModule[] {
  const index = indexGraph(model.graph);
  const linears = model.graph.nodes.flatMap((node) => linearForm(index, node) ?? []);
  const paths = nameLinears(model, index, linears);
  const modules = joinCalls(index, linears.flatMap((linear, i) => split(index, linear, paths[i])));
  if (options.allowAmbiguous !== true) refuseAmbiguous(modules);
  return modules;
}

/** The modules of a linear: itself, or its q, k and v if it is fused. */
function split(index: GraphIndex, linear: LinearForm, name: LinearName): readonly LinearModule[] {
  if (typeof name !== "string") {
    const sizes = hiddenSizes(linear.node, linear.outFeatures);
    return slices(linear, sizes, name.parts.map((part) => `${name.parent}.${part}`));
  }
  const result = linear.bias?.output ?? linear.output;
  const sizes = packedSizes(index, result, linear);
  if (sizes === undefined) {
    // A fused attention's result does not belong to a layer.
    const head = !isFusedAttention(linear.node) && isHead(index, result, name);
    return [{ ...inLayer(linear, name), path: name, head }];
  }
  const parent = name.slice(0, name.lastIndexOf(".") + 1);
  return slices(linear, sizes, ["q_proj", "k_proj", "v_proj"].map((part) => parent + part));
}

function inLayer(linear: LinearForm, path: string) {
  const layer = layerOf(path);
  return layer === undefined ? linear : { ...linear, layer };
}

/** Neighbouring columns of a fused linear as separate layers. */
function slices(
  linear: LinearForm,
  sizes: readonly number[],
  paths: readonly string[],
): readonly LinearModule[] {
  let offset = 0;
  return sizes.map((size, i) => {
    const slice = { offset, size, total: linear.outFeatures };
    offset += size;
    const path = paths[i];
    return { ...inLayer(linear, path), path, outFeatures: size, slice, head: false };
  });
}

/** Joins the calls of each module: the first one represents all. */
function joinCalls(index: GraphIndex, modules: readonly LinearModule[]): readonly LinearModule[] {
  const firsts = new Map<string, LinearModule>();
  const again = new Map<LinearModule, LinearForm[]>();
  for (const module of modules) {
    const name = callName(module);
    const first = firsts.get(name);
    if (first === undefined) firsts.set(name, module);
    else if (isSameLayer(index, first, module)) {
      again.set(first, [...again.get(first) ?? [], module]);
    }
  }
  const further = new Set([...again.values()].flat());
  return modules.filter((module) => !further.has(module)).map((module) =>
    again.has(module) ? { ...module, again: again.get(module) } : module
  );
}

/** A path without the number that PyTorch's older exporter gives a module's later calls. */
const callName = ({ path }: LinearModule) => path.replace(/_\d+$/, "");

/**
 * Whether two linears of one name have the same weight. An exporter may have written it twice under one
 * path; equal values alone could also be a coincidence.
 */
function isSameLayer(index: GraphIndex, one: LinearModule, other: LinearModule): boolean {
  const same = (a: string | undefined, b: string | undefined) => {
    if (a === b) return true;
    const [x, y] = [index.constant(a ?? ""), index.constant(b ?? "")];
    return x !== undefined && y !== undefined && x.dtype === y.dtype &&
      String(x.dims) === String(y.dims) && equals(x.bytes, y.bytes);
  };
  return (one.path === other.path || one.weight === other.weight) && one.kind === other.kind &&
    one.slice?.offset === other.slice?.offset && one.layout === other.layout &&
    one.dtype === other.dtype &&
    same(one.weight, other.weight) && same(one.scales, other.scales) &&
    same(one.zeroPoints, other.zeroPoints) && same(one.bias?.weight, other.bias?.weight);
}

/**
 * Sizes of q, k and v in a fused product: one that a GroupQueryAttention reads packed, or that
 * onnxruntime-genai's builder fused and splits again (to normalise q and k).
 */
function packedSizes(
  index: GraphIndex,
  value: string,
  { outFeatures, node: { name } }: LinearForm,
): readonly number[] | undefined {
  const readers = index.consumers(value);
  const [node] = readers;
  if (readers.length !== 1 || node.inputs[0] !== value) return undefined;
  if (node.opType === "GroupQueryAttention" && !node.inputs[1]) {
    const query = intAttribute(node, "num_heads", 0);
    const keyValue = intAttribute(node, "kv_num_heads", query);
    const head = outFeatures / (query + 2 * keyValue);
    return checkedSizes([query * head, keyValue * head, keyValue * head], outFeatures, node);
  }
  if (node.opType !== "Split" || node.outputs.length !== 3) return undefined;
  // Otherwise a fused linear that is split is a module of its own (GPT-2's c_attn, Phi-3's qkv_proj).
  if (!/\/attn\/qkv_proj\/[^/]*$/.test(name)) return undefined;
  const sizes = index.constant(node.inputs[1] ?? "");
  return sizes && checkedSizes(Array.from(toNumbers(sizes)), outFeatures, node);
}

/** @throws {BadInputError} for invalid sizes, or sizes that do not add up to the width */
function checkedSizes(sizes: readonly number[], width: number, node: Node): readonly number[] {
  const isSound = sizes.length === 3 && sizes.every((size) => Number.isInteger(size) && size > 0);
  if (isSound && sizes.reduce((sum, size) => sum + size, 0) === width) return sizes;
  throw new BadInputError(
    `${
      operatorName(node)
    } "${node.name}" does not divide its ${width} columns into queries, keys ` +
      `and values: current sizes are [${sizes}]`,
  );
}

function isHead(index: GraphIndex, result: string, path: string): boolean {
  return index.isOutput(result) || ["lm_head", "score", "classifier"].includes(path);
}

function refuseAmbiguous(modules: readonly LinearModule[]): void {
  const seen = new Map<string, LinearModule>();
  for (const module of modules) {
    const other = seen.get(module.path);
    if (other !== undefined) {
      const candidates = [other, module].map(({ node, weight }) =>
        `node "${node.name}" with weight "${weight}"`
      );
      throw new BadInputError(
        `Cannot name the linear layers of this graph: two candidates for module "${module.path}": ` +
          candidates.join(" and "),
      );
    }
    seen.set(module.path, module);
  }
}
