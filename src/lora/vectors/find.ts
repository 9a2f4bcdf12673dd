/**
 * Vectors of a graph that can be trained where they are: weights and biases of normalisations, biases of
 * linear layers.
 */
import { isFloating } from "../../graph/dtype.ts";
import { MICROSOFT, type Model, type Node, operatorName } from "../../graph/types.ts";
import { type GraphIndex, indexGraph } from "../graph_index.ts";
import type { Slice } from "../linear_form.ts";
import { callsOf, findModules, type LinearModule } from "../modules.ts";
import {
  huggingFacePath,
  pathFromMetadata,
  pathFromNodeName,
  pathFromParameter,
  rootScope,
  stripRoot,
} from "../names.ts";

/** A vector of a module. */
export interface ModuleVector {
  /** Path of the module, as transformers writes it. */
  readonly path: string;
  readonly which: "weight" | "bias";
  readonly of: "normalisation" | "linear";
  /** Value name of the stored vector. */
  readonly value: string;
  /** The nodes that read it for this module. */
  readonly readers: readonly Node[];
  /** The part of a fused layer's vector. */
  readonly slice?: Slice;
}

/** Inputs with the weight and the bias of each operator that normalises; absent: it has none. */
const OPERATORS: ReadonlyMap<string, readonly [weight: number, bias?: number]> = new Map([
  ["LayerNormalization", [1, 2]],
  ["RMSNormalization", [1]],
  ["SimplifiedLayerNormalization", [1]],
  [`${MICROSOFT}.SkipLayerNormalization`, [2, 3]],
  [`${MICROSOFT}.SkipSimplifiedLayerNormalization`, [2]],
  [`${MICROSOFT}.EmbedLayerNormalization`, [5, 6]],
]);

/** All such vectors, in the graph's order; a layer's later calls read the vector of its first. */
export function findVectors(
  model: Model,
  modules: readonly LinearModule[] = findModules(model),
): readonly ModuleVector[] {
  const index = indexGraph(model.graph);
  return [
    ...normVectors(model, index, modules),
    ...modules.flatMap((module) => biasOf(index, module)),
  ];
}

/** Input with the bias of the layer before, for each operator that optimisers move one into. */
const FOLDED: ReadonlyMap<string, number> = new Map([
  ["BiasGelu", 1],
  ["FastGelu", 1],
  ["SkipLayerNormalization", 4],
  ["SkipSimplifiedLayerNormalization", 3],
]);

/** The bias of a layer that an optimiser has moved into the operator behind it. */
function foldedBiasOf(
  index: GraphIndex,
  { path, output, again, slice }: LinearModule,
): readonly ModuleVector[] {
  const [reader, ...others] = index.consumers(output);
  const slot = reader?.domain === MICROSOFT ? FOLDED.get(reader.opType) : undefined;
  const value = slot === undefined ? undefined : reader.inputs[slot];
  if (value === undefined || others.length > 0) return [];
  if (again !== undefined || slice !== undefined) return [];
  const stored = index.constant(value);
  if (stored === undefined || !isFloating(stored.dtype)) return [];
  return [{ path, which: "bias", of: "linear", value, readers: [reader] }];
}

function biasOf(index: GraphIndex, module: LinearModule): readonly ModuleVector[] {
  const { bias, path, slice } = module;
  if (bias === undefined) return foldedBiasOf(index, module);
  const stored = index.constant(bias.weight);
  // An int32 bias is computed from codes: it has no values of its own.
  if (stored === undefined || !isFloating(stored.dtype)) return [];
  const readers = callsOf(module).flatMap(({ node, bias }) => {
    const reader = bias && index.producer(bias.output);
    return [node, ...reader ? [reader] : []].filter((each) => each.inputs.includes(bias!.weight));
  });
  return [{ path, which: "bias", of: "linear", value: bias.weight, readers, slice }];
}

interface Norm {
  readonly node: Node;
  readonly vectors: readonly {
    readonly which: "weight" | "bias";
    readonly value: string;
    readonly reader: Node;
  }[];
}

/** What ONNX Runtime adds to the name of a normalisation that it has fused. */
const FUSION = /\.\w+\.LayerNormFusion$/;

function normVectors(
  model: Model,
  index: GraphIndex,
  modules: readonly LinearModule[],
): readonly ModuleVector[] {
  const final = modules.some(({ path }) => path.endsWith(".self_attn.dense"))
    ? "model.final_layernorm"
    : "model.norm";

  const norms = model.graph.nodes.flatMap((node) => normOf(index, node) ?? []);
  const uses = Map.groupBy(
    norms.flatMap(({ vectors }) => vectors),
    ({ value }) => value,
  );
  const written = norms.map(({ node, vectors }) => {
    // Exporters merge equal vectors: one that several nodes read names none of them.
    const [own] = vectors.filter(({ value }) => uses.get(value)!.length === 1);
    return pathFromMetadata(node) ?? pathFromNodeName(node.name)?.replace(FUSION, "") ??
      (own && pathFromParameter(own.value, own.which)) ?? node.outputs[0];
  });
  const paths = stripRoot(written, rootScope(model)).map((path) => normPath(path, final));
  const found = new Map<string, ModuleVector>();
  norms.forEach(({ vectors }, i) => {
    for (const { which, value, reader } of vectors) {
      const key = `${paths[i]}.${which}`;
      const first = found.get(key);
      const readers = [...first?.readers ?? [], reader];
      found.set(key, { path: paths[i], which, of: "normalisation", value, readers });
    }
  });
  return [...found.values()];
}

/**
 * Names of onnxruntime-genai's builder in Hugging Face's spelling.
 *
 * @param final path of the last normalisation
 */
function normPath(path: string, final: string): string {
  const isFinal = /^model\.layers\.\d+\.final_norm_layernorm$/.test(path);
  return isFinal ? final : huggingFacePath(path).replace(/\.([qk]_norm)\.layernorm$/, ".$1");
}

function normOf(index: GraphIndex, node: Node): Norm | undefined {
  const slots = OPERATORS.get(operatorName(node));
  const isVector = (value: string | undefined) => {
    const stored = value === undefined || value === "" ? undefined : index.constant(value);
    return stored !== undefined && isFloating(stored.dtype) && stored.dims.length === 1;
  };
  if (slots !== undefined) {
    const vectors = (["weight", "bias"] as const).flatMap((which, i) => {
      const value = node.inputs[slots[i] ?? -1];
      return isVector(value) ? [{ which, value, reader: node }] : [];
    });
    return vectors.length === 0 ? undefined : { node, vectors };
  }
  if (node.domain !== "" || node.opType !== "Mul") return undefined;
  const weight = node.inputs.find(isVector);
  const other = node.inputs.find((value) => value !== weight);
  if (weight === undefined || other === undefined || !isNormalised(index, other)) return undefined;
  const add = index.consumers(node.outputs[0]).find(({ opType, inputs }) =>
    opType === "Add" && inputs.some(isVector)
  );
  const bias = add?.inputs.find(isVector);
  return {
    node,
    vectors: [
      { which: "weight", value: weight, reader: node },
      ...add === undefined || bias === undefined
        ? []
        : [{ which: "bias" as const, value: bias, reader: add }],
    ],
  };
}

/** Whether a value was divided by a root of a mean, as exporters take normalisations apart. */
function isNormalised(index: GraphIndex, value: string): boolean {
  const node = through(index, value);
  if (node?.opType === "Div") return through(index, node.inputs[1])?.opType === "Sqrt";
  if (node?.opType !== "Mul") return false;
  return node.inputs.some((input) => {
    const factor = through(index, input);
    if (factor?.opType === "Reciprocal") {
      return through(index, factor.inputs[0])?.opType === "Sqrt";
    }
    return factor?.opType === "Div" && through(index, factor.inputs[1])?.opType === "Sqrt";
  });
}

/** The node that makes a value, apart from its type. */
function through(index: GraphIndex, value: string): Node | undefined {
  let node = index.producer(value);
  while (node?.opType === "Cast" || node?.opType === "Identity") {
    node = index.producer(node.inputs[0]);
  }
  return node;
}
