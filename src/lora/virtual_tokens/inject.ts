/** Gives a user's graph virtual tokens: ids beyond its vocabulary, with trained values. */
import { BadInputError, UsageError } from "../../errors.ts";
import { int } from "../../graph/attributes.ts";
import { ONNX_TYPE } from "../../graph/dtype.ts";
import { float32, int64, type Tensor, tensor, toNumbers } from "../../graph/tensor.ts";
import type { DataType } from "../../graph/dtype.ts";
import type { Model, Node } from "../../graph/types.ts";
import { isFusedAttention } from "../../graph/fused_attention.ts";
import { GraphEdit } from "../edit.ts";
import { type GraphIndex, indexGraph } from "../graph_index.ts";
import type { InjectOptions } from "../lora_weights.ts";
import type { LinearModule } from "../modules.ts";
import { shorthandMatches } from "../shorthand.ts";
import { declareTrainable, type Trainable, type WithTrainable } from "../trainable.ts";
import { columnsOf, type VirtualTokensConfig } from "./config.ts";
import { TOKEN_IDS, tokenEmbedding } from "./embedding.ts";
import { type KeyRotation, keyRotation } from "./key_rotation.ts";

/** Keys and values of one layer. */
export interface PrefixLayer {
  readonly keys: LinearModule;
  readonly values: LinearModule;
  readonly rotation: KeyRotation;
}

/**
 * The layers of a prefix, first to last.
 *
 * @throws {UsageError} if the graph has no such layers, or does more with their keys than a prefix can undo
 */
function prefixLayers(
  model: Model,
  modules: readonly LinearModule[],
  count: number,
): readonly PrefixLayer[] {
  const index = indexGraph(model.graph);
  const of = (word: string) => modules.filter(({ path }) => shorthandMatches(word, path));
  const [keys, values] = [of("k"), of("v")];
  const fits = keys.length > 0 && keys.length === values.length &&
    keys.every(({ layer }, i) => layer === i && values[i].layer === i) &&
    [...keys, ...values].every((module) =>
      module.again === undefined && !isFusedAttention(module.node) &&
      module.outFeatures === keys[0].outFeatures
    );
  if (!fits) {
    throw new UsageError((name) =>
      `Cannot add a prefix (${name("adapterType", "prefix_tuning")}): every layer must have one ` +
      "projection of keys and one of values, all of one width, outside fused attention"
    );
  }
  return keys.map((keys, i) => ({
    keys,
    values: values[i],
    rotation: keyRotation(index, keys, count),
  }));
}

/** The layers that virtual tokens are given values in; none if they have embeddings instead. */
export function prefixLayersOf(
  model: Model,
  modules: readonly LinearModule[],
  { method, numVirtualTokens }: Pick<VirtualTokensConfig, "method" | "numVirtualTokens">,
): readonly PrefixLayer[] {
  return method === "prompt_tuning" ? [] : prefixLayers(model, modules, numVirtualTokens);
}

/** Names of the trained values in the graph: of all, and the end of those of a layer's keys or values. */
const PROMPT = "prompt_embeddings";
const PREFIX = ".prefix";

/** Whether a trained value, by its name in the graph, is one of virtual tokens. */
export const isOfVirtualTokens = (name: string): boolean =>
  name === PROMPT || name.endsWith(PREFIX);

/**
 * Adds virtual tokens to a graph. Only names of values are taken from `modules`: other adapters may have been
 * added to the layers.
 *
 * @param embeddings PEFT's `prompt_embeddings`, [tokens, columns]
 * @param layers for a prefix
 * @throws {UsageError} for a graph that cannot have them
 * @throws {BadInputError} for values of another shape
 */
export function injectVirtualTokens(
  model: Model,
  config: VirtualTokensConfig,
  embeddings: Tensor,
  layers: readonly PrefixLayer[],
  options: InjectOptions = {},
): WithTrainable {
  const { numVirtualTokens: count } = config;
  const expected = `float32[${count},${columnsOf(config)}]`;
  if (`${embeddings.dtype}[${embeddings.dims}]` !== expected) {
    throw new BadInputError(
      `prompt_embeddings must be ${expected}: current value is ` +
        `${embeddings.dtype}[${embeddings.dims}]`,
    );
  }
  const edit = new GraphEdit(model.graph);
  const index = indexGraph(model.graph);
  const tokens = virtualPositions(model, edit, index, count);
  const trainable = new Map<string, Trainable>();
  const put = (name: string, path: string, value: Tensor) =>
    declareTrainable(
      edit,
      trainable,
      name,
      { path, which: "virtual", dims: value.dims },
      value,
      options,
    );
  const place = (value: string, name: string, rows: (op: Add) => string, dtype: DataType) =>
    replaceRows(edit, index, tokens, { value, name, rows, dtype });
  if (config.method === "prompt_tuning") {
    const { output, dtype, width } = tokenEmbedding(model);
    if (width !== config.tokenDim) throw new BadInputError(otherWidth(config, width));
    place(output, "virtual.prompt", () => put(PROMPT, PROMPT, embeddings), dtype);
    return { model: edit.apply(model), trainable };
  }
  layers.forEach(({ keys, values, rotation }, layer) => {
    const width = keys.outFeatures;
    if (width !== config.tokenDim || layers.length !== config.numLayers) {
      throw new BadInputError(otherWidth(config, width, layers.length));
    }
    const part = (module: LinearModule, at: number) =>
      put(
        `${module.path}${PREFIX}`,
        module.path,
        columns(embeddings, (2 * layer + at) * width, width),
      );
    const key = part(keys, 0);
    const value = part(values, 1);
    const scope = `virtual.layer.${layer}`;
    const turned = (op: Add) => turnedBack(edit, op, scope, key, rotation);
    if (keys.output !== values.output) {
      place(resultOf(keys), `${scope}.key`, turned, keys.dtype);
      place(resultOf(values), `${scope}.value`, () => value, values.dtype);
      return;
    }
    // Slices of one product: nothing reads the queries of virtual tokens.
    const total = keys.slice!.total;
    const blocks = [{ module: keys, make: turned }, { module: values, make: () => value }]
      .sort((a, b) => a.module.slice!.offset - b.module.slice!.offset);
    const rows = (op: Add) => {
      const parts: string[] = [];
      let column = 0;
      const fill = (to: number) => {
        if (to > column) {
          const zeros = new Float32Array(count * (to - column));
          parts.push(edit.shared(
            `virtual.zeros.${to - column}`,
            () => float32([count, to - column], zeros),
          ));
        }
      };
      for (const { module, make } of blocks) {
        fill(module.slice!.offset);
        parts.push(make(op));
        column = module.slice!.offset + module.slice!.size;
      }
      fill(total);
      return op("Concat", parts, `${scope}.rows`, { axis: int(1) });
    };
    place(resultOf(keys), `${scope}.packed`, rows, keys.dtype);
  });
  return { model: edit.apply(model), trainable };
}

const resultOf = ({ bias, output }: LinearModule) => bias?.output ?? output;

const otherWidth = (
  { numVirtualTokens, tokenDim, numLayers }: VirtualTokensConfig,
  width: number,
  layers?: number,
) =>
  `The adapter's ${numVirtualTokens} virtual tokens have a width of ${tokenDim}` +
  `${layers === undefined ? "" : ` in ${numLayers} layers`}, the model's is ${width}` +
  `${layers === undefined ? "" : ` in ${layers}`}`;

/** Adds a node; all names are unique in the graph. */
type Add = (
  opType: string,
  inputs: readonly string[],
  output: string,
  attributes?: Node["attributes"],
) => string;

/** Values that tell virtual tokens from others. */
interface VirtualPositions {
  /** bool [batch, length, 1]: whether a token is the text's own. */
  readonly own: string;
  /** [batch, length]: the number of a virtual token; 0 for others. */
  readonly number: string;
}

/** Takes ids beyond the table for virtual tokens; the graph looks id 0 up instead of them. */
function virtualPositions(
  model: Model,
  edit: GraphEdit,
  index: GraphIndex,
  count: number,
): VirtualPositions {
  const { rows } = tokenEmbedding(model);
  const dtype = model.graph.inputs.find(({ name }) => name === TOKEN_IDS)?.type?.dtype ?? "int64";
  const constant = (name: string, value: number) =>
    edit.initializer(
      `virtual.${name}`,
      dtype === "int64"
        ? int64([], [value])
        : tensor("int32", [], new Uint8Array(Int32Array.of(value).buffer)),
    );
  const add: Add = (opType, inputs, output, attributes = {}) =>
    edit.add(undefined, opType, inputs, edit.name(output), attributes);
  const [first, zero, last] = [
    constant("first_id", rows),
    constant("no_id", 0),
    constant("last_number", count - 1),
  ];
  const own = add("Less", [TOKEN_IDS, first], "virtual.own");
  const ids = add("Where", [own, TOKEN_IDS, zero], "virtual.ids");
  const above = add("Sub", [TOKEN_IDS, first], "virtual.above");
  // Past the last one there is nothing: such an id is the caller's mistake, but never an index.
  const number = add(
    "Min",
    [add("Where", [own, zero, above], "virtual.numbers"), last],
    "virtual.number",
  );
  const shape = edit.initializer("virtual.column", int64([3], [0, 0, 1]));
  const column = add("Reshape", [own, shape], "virtual.own_column");
  for (const reader of new Set(index.consumers(TOKEN_IDS))) {
    edit.renameInput(reader, TOKEN_IDS, ids);
  }
  return { own: column, number };
}

/** Rows of a value, [batch, length, width], and what they are at virtual tokens. */
interface Replacement {
  readonly value: string;
  readonly name: string;
  /** Makes the trained rows, [tokens, width]. */
  readonly rows: (op: Add) => string;
  readonly dtype: DataType;
}

function replaceRows(
  edit: GraphEdit,
  index: GraphIndex,
  { own, number }: VirtualPositions,
  { value, name, rows, dtype }: Replacement,
): void {
  const anchor = index.producer(value);
  if (anchor === undefined) throw new RangeError(`No node of the graph makes "${value}"`);
  const op: Add = (opType, inputs, output, attributes = {}) =>
    edit.add(anchor, opType, inputs, edit.name(output), attributes);
  const base = `${value}.without_virtual`;
  edit.renameOutput(anchor, value, base);
  const looked = op("Gather", [rows(op), number], `${name}.looked_up`, { axis: int(0) });
  const typed = dtype === "float32"
    ? looked
    : op("Cast", [looked], `${name}.cast`, { to: int(ONNX_TYPE[dtype]) });
  edit.add(anchor, "Where", [own, base, typed], value);
}

/** Keys as the layer computes them, from keys as the attention reads them. */
function turnedBack(
  edit: GraphEdit,
  op: Add,
  scope: string,
  key: string,
  { back }: KeyRotation,
): string {
  if (back === undefined) return key;
  const shared = (name: keyof typeof back) => edit.shared(`virtual.${name}`, () => back[name]);
  const partners = op("Gather", [key, shared("partner")], `${scope}.partners`, { axis: int(1) });
  const straight = op("Mul", [key, shared("cos")], `${scope}.straight`);
  const across = op("Mul", [partners, shared("sin")], `${scope}.across`);
  return op("Add", [straight, across], `${scope}.turned_back`);
}

/** Columns [first, first + width) of a matrix. */
function columns({ dims: [rows, all], ...matrix }: Tensor, first: number, width: number): Tensor {
  const values = toNumbers({ dims: [rows, all], ...matrix } as Tensor);
  const part = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < width; c++) part[r * width + c] = values[r * all + first + c];
  }
  return float32([rows, width], part);
}
