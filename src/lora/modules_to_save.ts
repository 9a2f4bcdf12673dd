/** Existing layers trained in full beside an adapter: PEFT's `modules_to_save`. */
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import { prune } from "../graph/passes/prune.ts";
import type { Model } from "../graph/types.ts";
import { ParameterError } from "../errors.ts";
import { GraphEdit } from "./edit.ts";
import { indexGraph } from "./graph_index.ts";
import type { LinearModule } from "./modules.ts";
import { openAttention } from "./open_attention.ts";
import { weightValues } from "./stored_matrix.ts";
import {
  checkLinearWeights,
  declareTrainable,
  type Trainable,
  type WithTrainable,
} from "./trainable.ts";

/**
 * The modules that `--modules-to-save` names, by path or end of path.
 *
 * @throws {ParameterError} for a name the model does not have, listing its heads
 */
export function resolveModulesToSave(
  modules: readonly LinearModule[],
  names: readonly string[],
): readonly LinearModule[] {
  const chosen = new Set<LinearModule>();
  for (const name of names) {
    const found = modules.filter(({ path }) => path === name || path.endsWith(`.${name}`));
    if (found.length === 0) {
      const heads = modules.filter((module) => module.layer === undefined).map(({ path }) => path);
      throw new ParameterError(
        "modulesToSave",
        `Cannot train module "${name}" fully: this model has no such linear layer; outside its layers it has ` +
          (heads.join(", ") || "none (a new head is trained without being named)"),
      );
    }
    for (const module of found) chosen.add(module);
  }
  return modules.filter((module) => chosen.has(module));
}

/**
 * Replaces a linear by a float32 one whose weight [out, in] and bias are trainable, named
 * `<path>.weight` and `<path>.bias`, starting at the layer's own (dequantised) values.
 *
 * @param values initial values instead, e.g. of a saved adapter
 * @throws {ParameterError} for a slice of a fused linear, a layer that is called more than once, or one
 *   that does not compute in float32
 */
export function makeTrainable(
  base: Model,
  target: LinearModule,
  values?: { readonly weight: Tensor; readonly bias?: Tensor },
  options: { readonly asInputs?: boolean } = {},
): WithTrainable {
  const { path, slice, again, dtype } = target;
  const refuse = (why: string) => {
    throw new ParameterError("modulesToSave", `Cannot train module "${path}" fully: ${why}`);
  };
  if (slice !== undefined) refuse("it is part of a fused linear");
  if (again !== undefined) refuse(`the model calls it ${again.length + 1} times`);
  if (dtype !== "float32") refuse(`it computes in ${dtype}`);
  const { model, modules: [module] } = openAttention(base, [target]);
  const { output, bias, input } = module;
  const index = indexGraph(model.graph);
  const weight = values?.weight ?? weightValues(index, module);
  const start = bias === undefined ? undefined : index.constant(bias.weight);
  const biasValue = start === undefined
    ? undefined
    : values?.bias ?? float32([module.outFeatures], toNumbers(start));
  checkLinearWeights(path, {
    weight,
    bias: biasValue ?? float32([weight.dims[0]], new Float32Array(weight.dims[0])),
  }, module.inFeatures);
  const result = bias?.output ?? output;
  const anchor = index.producer(result);
  if (anchor === undefined) throw new RangeError(`No node of the graph makes "${result}"`);

  const edit = new GraphEdit(model.graph);
  const trainable = new Map<string, Trainable>();
  const put = (which: "weight" | "bias", value: Tensor) => {
    const what: Trainable = { path, which, dims: value.dims };
    // If the exporter kept the module's own names, there already is an initializer of this name.
    return declareTrainable(
      edit,
      trainable,
      trainableName(edit, `${path}.${which}`),
      what,
      value,
      options,
    );
  };
  edit.renameOutput(
    anchor,
    result,
    edit.has(`${result}.base`) ? `${result}.frozen` : `${result}.base`,
  );
  const transposed = edit.add(
    anchor,
    "Transpose",
    [put("weight", weight)],
    edit.name(`${path}.trained.weight_T`),
    {
      perm: { kind: "ints", value: [1, 0] },
    },
  );
  const product = biasValue === undefined ? result : edit.name(`${path}.trained.product`);
  edit.add(anchor, "MatMul", [input, transposed], product);
  if (biasValue !== undefined) edit.add(anchor, "Add", [product, put("bias", biasValue)], result);
  const edited = edit.apply(model);
  const keep = new Set(edited.graph.inputs.map((info) => info.name));
  return { model: { ...edited, graph: prune(edited.graph, keep) }, trainable };
}

function trainableName(edit: GraphEdit, name: string): string {
  return edit.has(name) ? `${name}.trained` : name;
}
