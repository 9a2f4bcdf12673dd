/**
 * Adapters that change from run to run, and from text to text of a batch: A and B are inputs of the graph,
 * [texts or 1, in, rank] and [texts or 1, rank, out], one pair for each product. A rank of 0 is the base.
 */
import { int } from "../graph/attributes.ts";
import { ONNX_TYPE } from "../graph/dtype.ts";
import { isFusedAttention } from "../graph/fused_attention.ts";
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import type { Adapter } from "./adapter_files.ts";
import { adapterSites } from "./apply.ts";
import { GraphEdit } from "./edit.ts";
import { indexGraph } from "./graph_index.ts";
import type { LoraWeights } from "./lora_weights.ts";
import { callScope, callSuffix, opsAfter } from "./low_rank_parts.ts";
import { callsOf, type LinearModule } from "./modules.ts";
import type { LoraSite } from "./targets.ts";

/** A product of the graph whose low-rank matrices are inputs. */
export interface SwitchedProduct {
  /** Names of the inputs. */
  readonly a: string;
  readonly b: string;
  /** The layers that it computes: one, or slices of a fused one. */
  readonly modules: readonly LinearModule[];
}

/** A graph whose adapters are inputs. */
export interface SwitchedModel {
  readonly model: Model;
  readonly products: readonly SwitchedProduct[];
}

/** An adapter has more than low-rank matrices of the products: it can only be merged. */
export class NotSwitchableError extends BadInputError {
  override name = "NotSwitchableError";
}

/** Matrices of one product: A [1, in, rank], B [1, rank, out]; float32. */
interface ProductMatrices {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** An adapter as a switched graph takes it, by the input's name. */
export type SwitchedAdapter = ReadonlyMap<string, Tensor>;

/**
 * Adds y' = y + (x·A)·B to the products of modules, with A and B as inputs.
 *
 * @param modules of the model; those inside a fused attention are left out
 */
export function injectSwitched(model: Model, modules: readonly LinearModule[]): SwitchedModel {
  const edit = new GraphEdit(model.graph);
  const index = indexGraph(model.graph);
  const free = modules.filter((module) =>
    !callsOf(module).some((form) => isFusedAttention(form.node))
  );
  const products = [...Map.groupBy(free, ({ output }) => output).values()];
  const added = products.map((group): SwitchedProduct => {
    const [module] = group;
    const width = module.slice?.total ?? module.outFeatures;
    const product = callScope(module, 0);
    const input = (which: string, shape: (string | number)[]) =>
      edit.input({
        name: `${product}.switched_${which}`,
        type: { dtype: "float32", shape: ["texts of adapters", ...shape] },
      });
    const rank = `rank of ${product}`;
    const a = input("A", [module.inFeatures, rank]);
    const b = input("B", [rank, width]);
    for (const [number, form] of callsOf(module).entries()) {
      const result = form.bias?.output ?? form.output;
      const anchor = index.producer(result);
      if (anchor === undefined) throw new RangeError(`No node of the graph makes "${result}"`);
      const op = opsAfter({ edit, scope: `${product}${callSuffix(number)}.switched` }, anchor);
      const cast = (value: string, to: "float32" | typeof form.dtype, name: string) =>
        form.dtype === "float32" ? value : op("Cast", [value], name, { to: int(ONNX_TYPE[to]) });
      const low = op("MatMul", [cast(form.input, "float32", "input"), a], "low");
      const delta = cast(op("MatMul", [low, b], "delta"), form.dtype, "delta_cast");
      const base = `${result}.base`;
      edit.renameOutput(anchor, result, base);
      edit.add(anchor, "Add", [base, delta], result);
    }
    return { a, b, modules: group };
  });
  return { model: edit.apply(model), products: added };
}

/**
 * The matrices of an adapter for the products of a switched graph.
 *
 * @param modules all of the base
 * @throws {NotSwitchableError} for an adapter of another kind, with more than matrices, or for modules that
 *   are no part of the products
 * @throws {BadInputError} for one that does not fit the model
 */
export function switchedAdapter(
  modules: readonly LinearModule[],
  products: readonly SwitchedProduct[],
  adapter: Adapter,
  where: string,
): SwitchedAdapter {
  const refuse = (what: string): never => {
    throw new NotSwitchableError(
      `${where} ${what}: it can be merged, but not switched between requests`,
    );
  };
  if (adapter.config.adapterType === "scales") refuse("is a scale adapter");
  if (adapter.promptEmbeddings !== undefined) {
    throw new NotSwitchableError(
      `${where} has virtual tokens: it cannot be switched between requests; give it as the model's ` +
        "adapter",
    );
  }
  if (adapter.bottlenecks !== undefined) refuse("has bottleneck adapters");
  if (adapter.vectors !== undefined) refuse("has trained biases or normalisations");
  if (adapter.config.useDora) refuse("is of DoRA, which scales the base's results too");
  if (adapter.saved.size > 0) refuse("has modules trained in full");
  if (adapter.head !== undefined) refuse("has a head of its own");
  const sites = new Map(adapterSites(modules, adapter).map((site) => [site.module.path, site]));
  const covered = new Set(products.flatMap(({ modules }) => modules.map(({ path }) => path)));
  const strange = [...sites.keys()].find((path) => !covered.has(path));
  if (strange !== undefined) refuse(`adapts ${strange}, for which the server has no inputs`);
  return new Map(products.flatMap((product) => {
    const { a, b } = matricesOf(product, sites, adapter);
    return [[product.a, a], [product.b, b]];
  }));
}

/**
 * The matrices of a file that was exported for the same base.
 *
 * @param tensors A [1, in, rank] and B [1, rank, out] by the input's name
 * @throws {NotSwitchableError} for an input that the products do not have
 * @throws {BadInputError} for matrices of other shapes
 */
export function switchedTensors(
  products: readonly SwitchedProduct[],
  tensors: ReadonlyMap<string, Tensor>,
  where: string,
): SwitchedAdapter {
  const inputs = new Set(products.flatMap(({ a, b }) => [a, b]));
  const strange = [...tensors.keys()].find((name) => !inputs.has(name));
  if (strange !== undefined) {
    throw new NotSwitchableError(`${where} has ${strange}, for which the server has no input`);
  }
  const adapter = new Map([...noAdapter(products), ...tensors]);
  for (const product of products) {
    const { inFeatures, width } = sizesOf(product);
    const [a, b] = [adapter.get(product.a)!.dims, adapter.get(product.b)!.dims];
    const rank = a.at(-1);
    if (`${a}` === `1,${inFeatures},${rank}` && `${b}` === `1,${rank},${width}`) continue;
    throw new BadInputError(
      `${where}: ${product.a} [${a}] and ${product.b} [${b}] must be [1, ${inFeatures}, rank] and ` +
        `[1, rank, ${width}]`,
    );
  }
  return adapter;
}

/** The largest rank of a product. */
export function switchedRank(
  products: readonly SwitchedProduct[],
  adapter: ReadonlyMap<string, Tensor>,
): number {
  return Math.max(0, ...products.map(({ a }) => adapter.get(a)?.dims.at(-1) ?? 0));
}

/**
 * A number by which files of switched adapters tell bases apart.
 *
 * @param digest of the base, `sha256:…`
 * @returns 31 bits of it
 */
export function versionOf(digest: string): number {
  return Number.parseInt(digest.slice("sha256:".length, "sha256:".length + 8), 16) & 0x7fffffff;
}

/** No adapter: rank 0 everywhere. */
export function noAdapter(products: readonly SwitchedProduct[]): SwitchedAdapter {
  return new Map(products.flatMap((product) => {
    const { a, b } = besideEachOther(product, []);
    return [[product.a, a], [product.b, b]];
  }));
}

/** A and B of a product's layers, each with its scale. */
function matricesOf(
  product: SwitchedProduct,
  sites: ReadonlyMap<string, LoraSite>,
  { lora }: Adapter,
): ProductMatrices {
  const { width } = sizesOf(product);
  const group = product.modules.flatMap(({ path }) => sites.get(path) ?? []);
  return besideEachOther(
    product,
    group.map((site) => ({
      matrices: layerMatrices(site, lora.get(site.module.path)!, width),
      scale: site.scale,
    })),
  );
}

/** A and B of one layer, transposed; a slice's B has its own columns among those of the product. */
function layerMatrices(
  { module: { inFeatures, outFeatures, slice }, rank }: LoraSite,
  weights: LoraWeights,
  width: number,
): ProductMatrices {
  const [down, up] = [toNumbers(weights.a), toNumbers(weights.b)];
  const column = slice?.offset ?? 0;
  const a = new Float32Array(inFeatures * rank);
  const b = new Float32Array(rank * width);
  for (let r = 0; r < rank; r++) {
    for (let i = 0; i < inFeatures; i++) a[i * rank + r] = down[r * inFeatures + i];
    for (let o = 0; o < outFeatures; o++) b[r * width + column + o] = up[o * rank + r];
  }
  return { a: float32([1, inFeatures, rank], a), b: float32([1, rank, width], b) };
}

/** An adapter with its weight in a mix. */
export interface WeightedAdapter {
  /** What is added. */
  readonly adapter: SwitchedAdapter;
  /** Its factor. */
  readonly scale: number;
}

/** The sum of adapters, each times its scale. */
export function mixedAdapter(
  products: readonly SwitchedProduct[],
  parts: readonly WeightedAdapter[],
): SwitchedAdapter {
  return new Map(products.flatMap((product) => {
    const mixed = besideEachOther(
      product,
      parts.map(({ adapter, scale }) => ({
        matrices: { a: adapter.get(product.a)!, b: adapter.get(product.b)! },
        scale,
      })),
    );
    return [[product.a, mixed.a], [product.b, mixed.b]];
  }));
}

/** A sum of updates, each times its scale, as one: their ranks beside each other, exactly. */
function besideEachOther(
  product: SwitchedProduct,
  parts: readonly { readonly matrices: ProductMatrices; readonly scale: number }[],
): ProductMatrices {
  const { inFeatures, width } = sizesOf(product);
  const rank = parts.reduce((sum, { matrices }) => sum + matrices.a.dims[2], 0);
  const a = new Float32Array(inFeatures * rank);
  const b = new Float32Array(rank * width);
  let first = 0;
  for (const { matrices, scale } of parts) {
    const own = matrices.a.dims[2];
    const [down, up] = [toNumbers(matrices.a), toNumbers(matrices.b)];
    for (let i = 0; i < inFeatures; i++) {
      for (let r = 0; r < own; r++) a[i * rank + first + r] = down[i * own + r];
    }
    for (let i = 0; i < own * width; i++) b[first * width + i] = up[i] * scale;
    first += own;
  }
  return { a: float32([1, inFeatures, rank], a), b: float32([1, rank, width], b) };
}

/** Columns that a product reads and makes. */
function sizesOf({ modules: [{ inFeatures, outFeatures, slice }] }: SwitchedProduct) {
  return { inFeatures, width: slice?.total ?? outFeatures };
}
