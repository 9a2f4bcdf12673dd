/** Gives every linear layer of a graph its module path. */
import { isFusedAttention } from "../graph/fused_attention.ts";
import type { Model } from "../graph/types.ts";
import type { GraphIndex } from "./graph_index.ts";
import type { LinearForm } from "./linear_form.ts";
import { type AttentionNames, attentionNames } from "./name_attention.ts";
import {
  huggingFacePath,
  pathFromMetadata,
  pathFromNodeName,
  pathFromParameter,
  rootScope,
  stripRoot,
} from "./names.ts";
import { pathsFromStructure } from "./structure.ts";

/** A linear's path, or the paths of the three layers in a fused attention. */
export type LinearName = string | AttentionNames;

/** One name per linear: from the file, otherwise from the structure, otherwise its output's name. */
export function nameLinears(
  model: Model,
  index: GraphIndex,
  linears: readonly LinearForm[],
): readonly LinearName[] {
  const written = writtenPaths(linears);
  const stripped = stripRoot([...written.values()], rootScope(model));
  const named = new Map([...written.keys()].map((linear, i) => [linear, stripped[i]]));
  const structure = named.size === linears.length
    ? undefined
    : withoutClashes(pathsFromStructure(index, linears));
  const parallel = parallelLayers(named);
  return linears.map((linear) => {
    const path = named.get(linear);
    if (path !== undefined) return huggingFacePath(path, parallel.has(layerPrefix(path)));
    const found = structure?.get(linear) ?? linear.output;
    if (!isFusedAttention(linear.node)) return found;
    const behind = linears.find(({ input }) => input === linear.output);
    return attentionNames(behind === undefined ? undefined : named.get(behind), found);
  });
}

/**
 * Removes names that the structure gave to several weights, because attention over positions looks like
 * any other.
 */
function withoutClashes(
  paths: ReadonlyMap<LinearForm, string>,
): ReadonlyMap<LinearForm, string> {
  const weights = Map.groupBy(paths, ([, path]) => path);
  return new Map(
    [...paths].filter(([, path]) =>
      new Set(weights.get(path)!.map(([{ weight }]) => weight)).size === 1
    ),
  );
}

/** Paths of the linears that the file names. */
function writtenPaths(linears: readonly LinearForm[]): ReadonlyMap<LinearForm, string> {
  const uses = new Map<string, number>();
  for (const { weight, bias } of linears) {
    for (const name of bias === undefined ? [weight] : [weight, bias.weight]) {
      uses.set(name, (uses.get(name) ?? 0) + 1);
    }
  }
  // A parameter that several linears share (exporters merge equal ones) does not name any of them.
  const parameter = (name: string | undefined, kind: "weight" | "bias") =>
    name === undefined || uses.get(name) !== 1 ? undefined : pathFromParameter(name, kind);
  return new Map(linears.flatMap((linear) => {
    // A fused attention has the name of the module around its three layers.
    const node = isFusedAttention(linear.node)
      ? undefined
      : pathFromMetadata(linear.node) ?? pathFromNodeName(linear.node.name);
    const path = node ?? parameter(linear.weight, "weight") ??
      parameter(linear.bias?.weight, "bias");
    return path === undefined ? [] : [[linear, path] as const];
  }));
}

/** The prefix `model.layers.3` of a path from onnxruntime-genai's builder. */
const layerPrefix = (path: string) => /^model\.layers\.\d+(?=\.)/.exec(path)?.[0] ?? "";

/** Layers whose attention and feed-forward read the same value, by prefix. */
function parallelLayers(named: ReadonlyMap<LinearForm, string>): ReadonlySet<string> {
  const readers = (leaf: string) =>
    [...named].flatMap(([{ input }, path]) =>
      path.endsWith(leaf) ? [`${layerPrefix(path)} ${input}`] : []
    );
  const attention = new Set(readers(".attn.qkv_proj"));
  const both = readers(".mlp.fc1").filter((reader) => attention.has(reader));
  return new Set(both.map((reader) => reader.split(" ")[0]));
}
