/** Finds the linear layers of a user's graph and the Hugging Face names they go by. */
import { intAttribute } from "../graph/attributes.ts";
import type { Model } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { type GraphIndex, indexGraph } from "./graph_index.ts";
import { type LinearForm, linearForm } from "./linear.ts";
import {
  huggingFacePath,
  layerOf,
  pathFromMetadata,
  pathFromNodeName,
  pathFromParameter,
  rootScope,
  stripRoot,
} from "./names.ts";
import { pathsFromStructure } from "./structure.ts";

/** A linear layer under its Hugging Face name; one slice of a fused qkv counts as a layer of its own. */
export interface LinearModule extends LinearForm {
  /** Module path as transformers and PEFT write it: `model.layers.0.self_attn.q_proj`. */
  readonly path: string;
  /** Number of the layer it lies in, `undefined` outside the layers. */
  readonly layer?: number;
  /** Whether it makes the model's logits: PEFT's `all-linear` leaves such heads out. */
  readonly head: boolean;
}

/**
 * Finds every weight-bearing linear of a model.
 *
 * Names come from node metadata, node names, weight and bias names, in this order, else from the
 * graph's structure; a linear that none of them names goes by its output value's name.
 *
 * @param options.allowAmbiguous keeps modules that share a path instead of refusing, for listings
 * @returns modules in the graph's order
 * @throws {BadInputError} where two linears claim one path, naming both
 */
export function findModules(
  model: Model,
  options: { readonly allowAmbiguous?: boolean } = {},
): readonly LinearModule[] {
  const index = indexGraph(model.graph);
  const linears = model.graph.nodes.flatMap((node) => linearForm(index, node) ?? []);
  const paths = namePaths(model, index, linears);
  const modules = linears.flatMap((linear, i) => split(index, linear, paths[i]));
  if (options.allowAmbiguous !== true) refuseAmbiguous(modules);
  return modules;
}

/** One path per linear. */
function namePaths(
  model: Model,
  index: GraphIndex,
  linears: readonly LinearForm[],
): readonly string[] {
  const uses = new Map<string, number>();
  for (const { weight, bias } of linears) {
    for (const name of bias === undefined ? [weight] : [weight, bias.weight]) {
      uses.set(name, (uses.get(name) ?? 0) + 1);
    }
  }
  // A parameter that several linears share (exporters merge equal ones) names none of them.
  const parameter = (name: string | undefined, kind: "weight" | "bias") =>
    name === undefined || uses.get(name) !== 1 ? undefined : pathFromParameter(name, kind);
  const found = linears.map((linear) =>
    pathFromMetadata(linear.node) ?? pathFromNodeName(linear.node.name) ??
      parameter(linear.weight, "weight") ?? parameter(linear.bias?.weight, "bias")
  );
  const named = found.filter((path) => path !== undefined);
  const stripped = stripRoot(named, rootScope(model));
  const structure = named.length === found.length ? undefined : pathsFromStructure(index, linears);
  let next = 0;
  return linears.map((linear, i) =>
    found[i] === undefined
      ? structure?.get(linear) ?? linear.output
      : huggingFacePath(stripped[next++])
  );
}

/** A linear as modules: itself, or its q, k and v where it feeds an attention that takes them packed. */
function split(index: GraphIndex, linear: LinearForm, path: string): readonly LinearModule[] {
  const layer = layerOf(path);
  const common = { ...linear, ...(layer === undefined ? {} : { layer }) };
  const result = linear.bias?.output ?? linear.output;
  const heads = packedHeads(index, result);
  if (heads === undefined) return [{ ...common, path, head: isHead(index, result, path) }];
  const size = linear.outFeatures / (heads.query + 2 * heads.keyValue);
  const parent = path.slice(0, path.lastIndexOf(".") + 1);
  let offset = 0;
  return [["q_proj", heads.query], ["k_proj", heads.keyValue], ["v_proj", heads.keyValue]].map(
    ([leaf, count]) => {
      const slice = { offset, size: Number(count) * size, total: linear.outFeatures };
      offset += slice.size;
      return { ...common, path: `${parent}${leaf}`, outFeatures: slice.size, slice, head: false };
    },
  );
}

/** Head counts of the GroupQueryAttention that reads `value` as packed q, k and v. */
function packedHeads(index: GraphIndex, value: string) {
  const readers = index.consumers(value);
  const [node] = readers;
  if (readers.length !== 1 || node.opType !== "GroupQueryAttention") return undefined;
  if (node.inputs[0] !== value || node.inputs[1]) return undefined;
  const query = intAttribute(node, "num_heads", 0);
  return { query, keyValue: intAttribute(node, "kv_num_heads", query) };
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
