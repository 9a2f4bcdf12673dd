/**
 * Puts virtual tokens before every text inside the graph, so that a model takes and gives what its base does.
 *
 * Training and {@linkcode "../../model/virtual_text.ts"} write the ids of virtual tokens into the texts; a
 * model that leaves graft has callers that know nothing of them.
 */
import { UsageError } from "../../errors.ts";
import { int } from "../../graph/attributes.ts";
import { type DataType, ONNX_TYPE } from "../../graph/dtype.ts";
import { int64 } from "../../graph/tensor.ts";
import type { Model, ValueInfo } from "../../graph/types.ts";
import { GraphEdit } from "../edit.ts";
import { indexGraph } from "../graph_index.ts";
import { TOKEN_IDS } from "./embedding.ts";

/** What virtual tokens have in inputs with an entry for each token. */
const INPUTS = {
  attention_mask: 1,
  token_type_ids: 0,
  position_ids: "their positions",
} as const;

/**
 * Adds virtual tokens to the inputs of a graph that knows their ids, and takes them from its outputs.
 *
 * @param virtual the first id, and how many there are
 * @throws {UsageError} for a graph that keeps keys and values between runs, or of fixed lengths
 */
export function prependVirtualTokens(
  model: Model,
  { first, count }: { readonly first: number; readonly count: number },
): Model {
  const { graph } = model;
  const ids = graph.inputs.find(({ name }) => name === TOKEN_IDS);
  const length = ids?.type?.shape?.[1];
  if (ids === undefined || typeof length !== "string") {
    throw refused("the graph does not take texts of any length");
  }
  const strange = graph.inputs.find(({ name }) =>
    name !== TOKEN_IDS && !Object.hasOwn(INPUTS, name)
  );
  if (strange !== undefined) {
    throw refused(`the graph has an input ${strange.name}: only a whole text can begin with them`);
  }
  // Values inside are longer than their annotations say.
  const edit = new GraphEdit({ ...graph, valueInfo: new Map() });
  const index = indexGraph(graph);
  const op = (opType: string, inputs: readonly string[], name: string, attributes = {}) =>
    edit.add(undefined, opType, inputs, edit.name(`virtual.${name}`), attributes);
  const whole = (name: string, values: readonly number[]) =>
    edit.initializer(`virtual.${name}`, int64([values.length], values));
  const shape = op("Shape", [TOKEN_IDS], "shape");
  const batch = op("Slice", [shape, whole("batch_from", [0]), whole("batch_to", [1])], "batch");
  const rows = op("Concat", [batch, whole("count", [count])], "rows", { axis: int(0) });
  const before = (name: string, values: readonly number[], dtype: DataType) => {
    const all = op("Expand", [whole(`${name}.row`, values), rows], `${name}.before`);
    return dtype === "int64"
      ? all
      : op("Cast", [all], `${name}.typed`, { to: int(ONNX_TYPE[dtype]) });
  };
  const later = (name: string, dtype: DataType) => {
    const by = whole(`${name}.by`, [count]);
    const typed = dtype === "int64"
      ? by
      : op("Cast", [by], `${name}.by_typed`, { to: int(ONNX_TYPE[dtype]) });
    return op("Add", [name, typed], `${name}.later`);
  };
  const numbers = (start: number) => Array.from({ length: count }, (_, i) => start + i);
  for (const { name, type } of graph.inputs) {
    const dtype = type?.dtype ?? "int64";
    const what = name === TOKEN_IDS ? undefined : INPUTS[name as keyof typeof INPUTS];
    const values = what === undefined
      ? numbers(first)
      : what === "their positions"
      ? numbers(0)
      : new Array(count).fill(what);
    const own = what === "their positions" ? later(name, dtype) : name;
    const all = op("Concat", [before(name, values, dtype), own], `${name}.all`, { axis: int(1) });
    for (const reader of new Set(index.consumers(name))) edit.renameInput(reader, name, all);
  }
  const last = graph.nodes.at(-1);
  const bounds = [
    whole("from", [count]),
    whole("to", [Number.MAX_SAFE_INTEGER]),
    whole("axis", [1]),
  ];
  for (const output of graph.outputs) {
    if (!hasLength(output, length)) continue;
    const maker = index.producer(output.name);
    if (maker === undefined) throw refused(`no node of the graph makes ${output.name}`);
    const inner = `${output.name}.with_virtual`;
    edit.renameOutput(maker, output.name, inner);
    for (const reader of new Set(index.consumers(output.name))) {
      edit.renameInput(reader, output.name, inner);
    }
    edit.add(last, "Slice", [inner, ...bounds], output.name);
  }
  return edit.apply(model);
}

/** @throws {UsageError} if the graph does not say */
function hasLength({ name, type }: ValueInfo, length: string): boolean {
  const shape = type?.shape;
  if (shape === undefined) throw refused(`the graph does not state the shape of ${name}`);
  return shape[1] === length;
}

const refused = (why: string) =>
  new UsageError(
    `Cannot write virtual tokens into the graph: ${why}; run the base with the adapter instead`,
  );
