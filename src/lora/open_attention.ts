/**
 * Decomposes a fused attention into the product with its bias, a Split, and
 * `com.microsoft.MultiHeadAttention`, so that nodes can be added between its product and its core.
 */
import { int, ints } from "../graph/attributes.ts";
import { ONNX_TYPE } from "../graph/dtype.ts";
import { fusedAttentionInputs, hiddenSizes, isFusedAttention } from "../graph/fused_attention.ts";
import { int64, type Tensor } from "../graph/tensor.ts";
import { type Attribute, MICROSOFT, type Model, type Node } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";
import type { LinearForm } from "./linear_form.ts";
import { callsOf, type LinearModule } from "./modules.ts";

/** Attributes that are copied to MultiHeadAttention. */
const CORE: ReadonlySet<string> = new Set([
  "num_heads",
  "unidirectional",
  "scale",
  "mask_filter_value",
]);

/**
 * The model in which every attention with one of the modules inside is decomposed, and its modules.
 * Results are the same except for the order of additions; the stored weights are the same bytes.
 */
export function openAttention(
  model: Model,
  modules: readonly LinearModule[],
): { readonly model: Model; readonly modules: readonly LinearModule[] } {
  const forms = new Map(
    modules.flatMap(callsOf).filter(({ node }) => isFusedAttention(node))
      .map((form) => [form.node, form]),
  );
  if (forms.size === 0) return { model, modules };
  const { graph, opsets } = model;
  const initializers = new Map(graph.initializers);
  const nodes = graph.nodes.flatMap((node) => {
    const form = forms.get(node);
    return form === undefined ? [node] : opened(form, opsets[""] ?? 1, initializers);
  });
  const verified = verify({ ...graph, nodes, initializers }, "openAttention()");
  return {
    model: { ...model, graph: verified },
    modules: modules.map(openedModule),
  };
}

const names = ({ node }: LinearForm) => ({
  product: `${node.outputs[0]}.product`,
  biased: `${node.outputs[0]}.qkv`,
});

function openedForm<T extends LinearForm>(form: T): T {
  if (!isFusedAttention(form.node)) return form;
  const { product, biased } = names(form);
  const bias = form.bias === undefined ? {} : { bias: { ...form.bias, output: biased } };
  return { ...form, output: product, ...bias };
}

function openedModule(module: LinearModule): LinearModule {
  const { again } = module;
  const first = openedForm(module);
  return again === undefined ? first : { ...first, again: again.map(openedForm) };
}

/** The nodes that replace a fused attention. */
function opened(form: LinearForm, opset: number, initializers: Map<string, Tensor>): Node[] {
  const { node, bias } = form;
  const { product, biased } = names(form);
  const { mask, attentionBias } = fusedAttentionInputs(node);
  const parts = ["query", "key", "value"].map((name) => `${node.outputs[0]}.${name}`);
  return [
    ...productNodes(form, product),
    ...bias === undefined ? [] : [plain("Add", [product, bias.weight], biased)],
    split(form, bias === undefined ? product : biased, parts, opset, initializers),
    {
      ...node,
      opType: "MultiHeadAttention",
      domain: MICROSOFT,
      inputs: withoutAbsent([...parts, "", mask, attentionBias]),
      attributes: Object.fromEntries(
        Object.entries(node.attributes).filter(([name]) => CORE.has(name)),
      ),
    },
  ];
}

function productNodes({ node, scales }: LinearForm, product: string): Node[] {
  const { input, weight, inputScale, inputZeroPoint, weightZeroPoint } = fusedAttentionInputs(node);
  if (node.opType === "Attention") return [plain("MatMul", [input, weight], product)];
  const [integers, floats, scale] = ["integers", "floats", "scale"].map((name) =>
    `${product}.${name}`
  );
  const factors = withoutAbsent([input, weight, inputZeroPoint, weightZeroPoint]);
  return [
    plain("MatMulInteger", factors, integers),
    plain("Cast", [integers], floats, { to: int(ONNX_TYPE.float32) }),
    plain("Mul", [inputScale, scales!], scale),
    plain("Mul", [floats, scale], product),
  ];
}

function split(
  form: LinearForm,
  value: string,
  parts: readonly string[],
  opset: number,
  initializers: Map<string, Tensor>,
): Node {
  const sizes = hiddenSizes(form.node, form.slice?.total ?? form.outFeatures);
  const axis = int(2);
  const node = { ...plain("Split", [value], `${value}.split`, { axis }), outputs: [...parts] };
  // Sizes are an attribute before opset 13.
  if (opset < 13) return { ...node, attributes: { axis, split: ints(sizes) } };
  const name = `${value}.sizes`;
  initializers.set(name, int64([3], sizes));
  return { ...node, inputs: [value, name] };
}

function plain(
  opType: string,
  inputs: readonly string[],
  output: string,
  attributes: Readonly<Record<string, Attribute>> = {},
): Node {
  // The values' names are reserved for the nodes that an adapter adds after them.
  return { name: `${output}.node`, opType, domain: "", inputs, outputs: [output], attributes };
}

/** Inputs without the empty names at their end. */
function withoutAbsent(inputs: readonly string[]): readonly string[] {
  return inputs.slice(0, inputs.findLastIndex((name) => name !== "") + 1);
}
