/**
 * Plans a merge: the tensors of the base that change, their types, and how to compute each.
 *
 * Planning is fast and holds no new weights, so that the layout of the file can be decided first and the
 * matrices computed and written one at a time.
 */
import { int } from "../../graph/attributes.ts";
import { elementCount, type Tensor } from "../../graph/tensor.ts";
import { pendingTensor } from "../../graph/pending.ts";
import { prune } from "../../graph/passes/prune.ts";
import type { Model } from "../../graph/types.ts";
import { verify } from "../../graph/verify.ts";
import { BadInputError } from "../../errors.ts";
import { floatTensor } from "../../quant/numbers.ts";
import { Scratch } from "../../quant/scratch.ts";
import type { QuantisedMatrix, StoredMatrix } from "../../quant/types.ts";
import { widened, widenedTypes } from "../../quant/widen.ts";
import type { GraphIndex } from "../graph_index.ts";
import { callsOf, type LinearModule } from "../modules.ts";
import { storedMatrix } from "../stored_matrix.ts";
import { scaleGrid } from "../scale_adapter.ts";
import type { LowRankUpdate, ModuleChange, RowChange } from "./delta.ts";
import {
  isolate,
  type LayerPart,
  moduleAt,
  type Modules,
  modulesOf,
  ownIntegerBias,
} from "./isolate.ts";
import { type LayerInputs, type MatrixReport, mergeMatrix } from "./matrix.ts";
import { ScaledBias } from "./scaled_bias.ts";
import { mergeToFloat, replaceByFloat } from "./to_float.ts";

/**
 * Storage of W + ΔW: in the base's own bits, rounded to nearest or with error compensation, or with
 * unchanged codes and fitted scales; with the adapted 4-bit matrices at 8 bits (with error compensation
 * if activations are given); or with every linear layer in floats. Scale adapters change only scales:
 * `scales`. `tuned` trains the scales of a rounded or fitted merge on data.
 */
export type MergeMethod =
  | "nearest"
  | "fitted"
  | "compensated"
  | "tuned"
  | "scales"
  | "8bit"
  | "float";

/** Whether a method uses inputs of the layers. */
export function isSteered(method: MergeMethod): boolean {
  return method === "fitted" || method === "compensated" || method === "8bit";
}

/** One matrix to compute. */
export interface MatrixTask {
  /** Input value of the layer's first call, whose Gram matrix error-compensated rounding needs. */
  readonly input: string;
  readonly rows: number;
  readonly cols: number;
  /** Initializers of the planned model that {@linkcode compute} fills. */
  readonly names: readonly string[];
  /**
   * Computes and writes the tensors. Without inputs of the layer, rounds to nearest.
   *
   * @param inputs used for weighting errors
   * @param scratch working memory, which is free afterwards
   */
  compute(write: WriteBytes, inputs?: LayerInputs, scratch?: Scratch): Promise<MatrixReport>;
}

/**
 * Receives contents of a pending initializer: all bytes, or a range of them that begins at `offset`
 * (default 0). The bytes are valid only during the call.
 */
export type WriteBytes = (name: string, bytes: Uint8Array, offset?: number) => void;

export interface MergePlan {
  readonly method: MergeMethod;
  /**
   * The merged model, complete except for the contents of the tasks' initializers: those are pending
   * (see `src/graph/pending.ts`), with their final types and dimensions.
   */
  readonly model: Model;
  readonly tasks: readonly MatrixTask[];
  /** Replaced biases, and what is added to the graph: changes that no task reports. */
  readonly otherChanges: readonly string[];
}

export interface PlanOptions {
  /** Adds an adapter's classification head, and its modules beside the weights. */
  readonly finish?: (model: Model) => Model;
}

/**
 * Plans the merge of adapters into a base model.
 *
 * @param changes one per module; several adapters are several updates of one change
 * @throws {BadInputError} for a module that the base lacks, or whose tensors do not fit
 */
export function planMerge(
  base: Model,
  changes: readonly ModuleChange[],
  method: MergeMethod,
  options: PlanOptions = {},
): MergePlan {
  let modules = modulesOf(base);
  const paths = new Set(changes.map(({ path }) => path));
  if (paths.size !== changes.length) throw new RangeError("Two changes name the same module");
  // Dequantising a model replaces every linear layer, adapted or not.
  const touched = method === "float"
    ? [...modules.byPath.keys()].filter((path) =>
      paths.has(path) || moduleAt(modules, path).scales !== undefined
    )
    : [...paths];
  for (const path of touched) {
    const change = changes.find((c) => c.path === path);
    modules = isolate(modules, path, partsOf(change));
  }
  const planner = new Planner(modules, method);
  for (const change of changes) planner.replaceBias(change);
  for (const group of groupByNode(modules, touched)) {
    planner.add(group, group.flatMap((module) => rowChange(modules.index, module, changes)));
  }
  let model = planner.finish();
  if (options.finish !== undefined) model = options.finish(model);
  const otherChanges = [
    ...changes.filter(({ bias }) => bias !== undefined).map(({ path }) => `${path}.bias`),
    ...options.finish === undefined ? [] : ["added nodes"],
  ];
  return { method, model, tasks: planner.tasks, otherChanges };
}

function partsOf(change: ModuleChange | undefined): readonly LayerPart[] {
  return [
    ...["weight", "scales", "zeroPoints", "integerBias.codes", "integerBias.scales"] as const,
    ...change?.bias === undefined ? [] : ["bias"] as const,
  ];
}

/** Groups slices of one fused layer. */
export function groupByNode(modules: Modules, paths: readonly string[]): readonly LinearModule[][] {
  const groups = new Map<string, LinearModule[]>();
  for (const path of paths) {
    const module = moduleAt(modules, path);
    const group = groups.get(module.output);
    if (group === undefined) groups.set(module.output, [module]);
    else group.push(module);
  }
  return [...groups.values()];
}

/**
 * A module's change as a change of its matrix's rows; none if `changes` do not include it.
 *
 * @throws {BadInputError} if its tensors do not fit the module
 */
export function rowChange(
  index: GraphIndex,
  module: LinearModule,
  changes: readonly ModuleChange[],
): readonly RowChange[] {
  const change = changes.find(({ path }) => path === module.path);
  if (change === undefined) return [];
  const { inFeatures, outFeatures, path } = module;
  const check = (updates: readonly LowRankUpdate[], columns: number) => {
    for (const { rank, loraA, loraB } of updates) {
      if (loraA.length === rank * columns && loraB.length === outFeatures * rank) continue;
      throw new BadInputError(
        `Cannot merge into "${path}": A must be [${rank},${columns}] and B [${outFeatures},${rank}]: ` +
          `current values have ${loraA.length} and ${loraB.length} elements`,
      );
    }
  };
  check(change.updates, inFeatures);
  if (change.scaleUpdates !== undefined) {
    check(change.scaleUpdates, scaleGrid(index, module).blocks);
  }
  if (change.weight !== undefined && change.weight.length !== outFeatures * inFeatures) {
    throw new BadInputError(
      `Cannot merge into "${path}": its weight must be [${outFeatures},${inFeatures}]: ` +
        `current value has ${change.weight.length} elements`,
    );
  }
  return [{ ...change, offset: module.slice?.offset ?? 0, rows: outFeatures }];
}

/** Edits the graph and collects the tasks. */
class Planner {
  readonly tasks: MatrixTask[] = [];
  readonly #modules: Modules;
  readonly #method: MergeMethod;
  /** The base's tensors, which tasks read. */
  readonly #initializers: Map<string, Tensor>;
  /** Initializers whose type or dimensions are not the base's. */
  readonly #retyped = new Set<string>();
  readonly #index: GraphIndex;
  #model: Model;

  constructor(modules: Modules, method: MergeMethod) {
    this.#modules = modules;
    this.#method = method;
    this.#model = modules.model;
    this.#initializers = new Map(modules.model.graph.initializers);
    this.#index = modules.index;
  }

  replaceBias({ path, bias }: ModuleChange): void {
    if (bias === undefined) return;
    const name = moduleAt(this.#modules, path).bias?.weight;
    const old = name === undefined ? undefined : this.#initializers.get(name);
    if (name === undefined || old === undefined || elementCount(old.dims) !== bias.length) {
      throw new BadInputError(
        `Cannot merge into "${path}": the adapter has a bias of ${bias.length} elements, ` +
          (old === undefined ? "the layer has none" : `the layer's is [${old.dims}]`),
      );
    }
    this.#initializers.set(name, floatTensor(old.dtype, old.dims, bias));
  }

  add(modules: readonly LinearModule[], changes: readonly RowChange[]): void {
    const [module] = modules;
    if (this.#method === "float") this.#addFloat(module, changes);
    else if (changes.length > 0) this.#addSameForm(module, changes);
  }

  /** Opened for each use, because open matrices hold their scales as floats. */
  #open(module: LinearModule): StoredMatrix {
    return storedMatrix(this.#index, module);
  }

  #addSameForm(module: LinearModule, changes: readonly RowChange[]): void {
    const matrix = this.#open(module);
    const wide = this.#method === "8bit" && matrix.kind === "quantised"
      ? widenedTypes(matrix)
      : undefined;
    const names = { codes: module.weight, scales: module.scales, zeroPoints: module.zeroPoints };
    for (const part of ["codes", "scales", "zeroPoints"] as const) {
      const name = names[part];
      const type = wide?.[part] ?? matrix.tensors[part];
      if (name !== undefined && type !== undefined) this.#pending(name, type);
    }
    if (wide !== undefined && module.kind === "MatMulNBits") this.#setBits(module, 8);
    const bias = this.#scaledBias(module);
    for (const [name, type] of bias?.tensors ?? []) this.#pending(name, type);
    const labels = { weight: module.weight, bits: wide === undefined ? module.bits : 8 };
    const isWide = wide !== undefined;
    this.#task(module, matrix, async (write, inputs, scratch = new Scratch()) => {
      const own = this.#open(module);
      const stored = isWide ? widened(own as QuantisedMatrix, scratch)! : own;
      // Even 8 bits are too coarse for the small ΔW of a short training, so errors are compensated here
      // too.
      const steer = isSteered(this.#method) ? inputs : undefined;
      const made = await mergeMatrix(stored, changes, labels, steer, inputs, scratch);
      for (const part of ["codes", "scales", "zeroPoints"] as const) {
        const name = names[part];
        const tensor = made.tensors[part];
        if (name !== undefined && tensor !== undefined) write(name, tensor.bytes);
      }
      if (bias !== undefined && made.tensors.scales !== undefined) {
        for (const [name, { bytes }] of bias.beside(made.tensors.scales)) write(name, bytes);
      }
      return made.report;
    }, [
      ...Object.values(names).filter((name) => name !== undefined),
      ...(bias?.tensors ?? []).map(([name]) => name),
    ]);
  }

  #scaledBias(module: LinearModule): ScaledBias | undefined {
    const integerBias = ownIntegerBias(module);
    if (integerBias === undefined || module.scales === undefined) return undefined;
    const [weightScales, inputScale] = [module.scales, integerBias.inputScale].map((name) =>
      this.#index.constant(name)!
    );
    const [codes, biasScales] = [integerBias.codes, integerBias.scales].map((name) =>
      [name, this.#index.constant(name)!] as const
    );
    return ScaledBias.of(codes, biasScales, weightScales, inputScale);
  }

  #addFloat(module: LinearModule, changes: readonly RowChange[]): void {
    const matrix = this.#open(module);
    // Looked up again: earlier replacements have created new nodes, but never this layer's.
    const { model, name, dtype, outFirst } = replaceByFloat(this.#model, module);
    this.#model = model;
    const dims = outFirst ? [matrix.rows, matrix.cols] : [matrix.cols, matrix.rows];
    this.#pending(name, { dtype, dims });
    this.#task(module, matrix, (write, _inputs, scratch) => {
      const place = { dtype, outFirst };
      const put = (bytes: Uint8Array, offset: number) => write(name, bytes, offset);
      return mergeToFloat(this.#open(module), changes, module.weight, place, put, scratch);
    }, [name]);
  }

  #task(
    module: LinearModule,
    matrix: StoredMatrix,
    compute: MatrixTask["compute"],
    names: readonly string[],
  ): void {
    const { rows, cols } = matrix;
    this.tasks.push({ input: module.input, rows, cols, names, compute });
  }

  #pending(name: string, { dtype, dims }: Pick<Tensor, "dtype" | "dims">): void {
    const old = this.#initializers.get(name);
    if (old?.dtype !== dtype || String(old.dims) !== String(dims)) this.#retyped.add(name);
    this.#initializers.set(name, pendingTensor(dtype, dims));
  }

  #setBits(module: LinearModule, bits: number): void {
    const { graph } = this.#model;
    const calls = new Set(callsOf(module).map(({ node }) => node));
    const nodes = graph.nodes.map((node) =>
      calls.has(node) ? { ...node, attributes: { ...node.attributes, bits: int(bits) } } : node
    );
    this.#model = { ...this.#model, graph: { ...graph, nodes } };
  }

  /** The edited model, without unread nodes and tensors. */
  finish(): Model {
    const { graph } = this.#model;
    const edited = { ...graph, initializers: this.#initializers, valueInfo: this.#valueInfo() };
    const inputs = new Set(graph.inputs.map((input) => input.name));
    const merged = this.#method === "float" ? prune(edited, inputs) : edited;
    return { ...this.#model, graph: verify(merged, "planMerge()") };
  }

  /** Annotations without those of tensors whose type changes. */
  #valueInfo(): Model["graph"]["valueInfo"] {
    const { valueInfo } = this.#model.graph;
    const fits = ([name]: readonly [string, unknown]) => !this.#retyped.has(name);
    return [...valueInfo].every(fits) ? valueInfo : new Map([...valueInfo].filter(fits));
  }
}
