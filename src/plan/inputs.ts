/** Concrete shapes for a model's inputs: identifies batch, length and empty caches. */
import { intAttribute } from "../graph/attributes.ts";
import type { DataType } from "../graph/dtype.ts";
import { asDims } from "../graph/extents.ts";
import { areEqual } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { partialShapes } from "../ops/schema/partial_shapes.ts";
import { TOKEN_TYPES } from "../graph/token_types.ts";
import { type Dim, type Graph, MICROSOFT } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { MASK_SUFFIX } from "./dropout.ts";

/** Sizes of one training or evaluation batch. */
export interface BatchShape {
  /** Sequences per batch. */
  readonly batch: Extent;
  /** Tokens per sequence, padding included. */
  readonly length: Extent;
}

/** An input's type with all dimensions known. */
export interface BoundInput {
  readonly dtype: DataType;
  readonly dims: readonly number[];
}

/**
 * Shapes of all inputs for a batch without a past: token inputs are [batch, length], key-value caches are
 * empty.
 *
 * @throws {BadInputError} naming the input, where its dimensions cannot be told from these
 */
export function bindInputs(graph: Graph, shape: BatchShape): Map<string, BoundInput> {
  const sizes = new Map<string, Extent>();
  for (const { name, type } of graph.inputs) {
    if (!isTokenInput(name) || type?.shape?.length !== 2) continue;
    const [batch, length] = type.shape;
    if (typeof batch === "string") sizes.set(batch, shape.batch);
    if (typeof length === "string") sizes.set(length, shape.length);
  }
  const bound = new Map<string, BoundInput>();
  let head: { readonly size: number | undefined } | undefined;
  const sizeOfHead = () => (head ??= { size: headSize(graph) }).size;
  for (const { name, type } of graph.inputs) {
    // An initializer that may be overridden need not be fed; masks are made inside the graph.
    if (graph.initializers.has(name) || name.endsWith(MASK_SUFFIX)) continue;
    if (type?.shape === undefined) {
      throw new BadInputError(`Cannot bind input "${name}": the model gives no shape for it`);
    }
    const dims = type.shape.map((dim, axis): Extent => {
      if (typeof dim === "number") return dim;
      const size = sizes.get(dim) ?? (/past/i.test(dim) ? 0 : undefined) ??
        (isCache(name) ? cacheDim(axis, shape, sizeOfHead) : undefined);
      if (size !== undefined) return size;
      if (!isTokenInput(name) && !isCache(name)) throw unknownInput(name);
      throw new BadInputError(
        `Cannot bind input "${name}": dimension ${axis} ("${dim}") is neither a batch nor a length`,
      );
    });
    const bad = dims.find((dim) =>
      typeof dim === "number" && (!Number.isSafeInteger(dim) || dim < 0)
    );
    if (bad !== undefined) {
      throw new BadInputError(
        `Cannot bind input "${name}": its attention gives it a size of ${bad}`,
      );
    }
    if (isTokenInput(name)) checkTokens(name, type.dtype, type.shape, shape);
    bound.set(name, { dtype: type.dtype, dims: asDims(dims) });
  }
  return bound;
}

/** The only batch sizes that a model accepts; absent where it accepts any. */
export function fixedShape(
  { inputs }: Pick<Graph, "inputs">,
): { readonly sequences?: number; readonly length?: number } {
  const shape = inputs.find(({ name }) => name === TOKEN_INPUTS[0])?.type?.shape;
  const [sequences, length] = shape?.length === 2 ? shape : [];
  return {
    ...(typeof sequences === "number" ? { sequences } : {}),
    ...(typeof length === "number" ? { length } : {}),
  };
}

/**
 * @throws {BadInputError} where a token input has a type other than those for tokens, or accepts only another
 *   shape
 */
function checkTokens(
  name: string,
  dtype: DataType,
  dims: readonly Dim[],
  { batch, length }: BatchShape,
): void {
  if (!TOKEN_TYPES.includes(dtype)) {
    throw new BadInputError(
      `Cannot bind input "${name}": its type must be one of ${TOKEN_TYPES.join(", ")}: ` +
        `current value is ${dtype}`,
    );
  }
  const [sequences = batch, tokens = length] = dims.map((dim) =>
    typeof dim === "number" ? dim : undefined
  );
  if (dims.length !== 2 || areEqual(sequences, batch) && areEqual(tokens, length)) return;
  throw new BadInputError(
    `Cannot bind input "${name}" [${dims.join(", ")}] to a batch [${batch}, ${length}]: ` +
      "export the model with a batch size and a sequence length that are left open (dynamic axes)",
  );
}

/**
 * Keys and values are [batch, heads, past, head size]. A single tensor may hold both; some have no heads
 * axis.
 */
const CACHE_RANK = 4;

/** @throws {BadInputError} naming the first input that no batch can feed */
export function checkInputs({ inputs, initializers }: Graph): void {
  for (const { name, type } of inputs) {
    if (initializers.has(name) || isTokenInput(name)) continue;
    // A merged decoder's `use_cache_branch` is not a cache.
    if (!isCache(name) || (type?.shape?.length ?? CACHE_RANK) < CACHE_RANK - 1) {
      throw unknownInput(name);
    }
  }
}

/** The error for an input that no batch can feed. */
export function unknownInput(name: string): BadInputError {
  return new BadInputError(
    `Cannot feed input "${name}": graft feeds ${TOKEN_INPUTS.join(", ")} and empty caches, ` +
      "and nothing else; export the model without that input (of a decoder's files, use one that is not merged)",
  );
}

/** Inputs with one number per token. */
export const TOKEN_INPUTS: readonly string[] = [
  "input_ids",
  "attention_mask",
  "token_type_ids",
  "position_ids",
];

const isTokenInput = (name: string) => TOKEN_INPUTS.includes(name);

/** Whether an input holds keys or values of earlier tokens. */
export function isCache(name: string): boolean {
  return /past|cache/i.test(name);
}

/** Caches are [batch, heads, past, head size]; exporters sometimes leave the head size symbolic. */
function cacheDim(
  axis: number,
  shape: BatchShape,
  headSize: () => Extent | undefined,
): Extent | undefined {
  if (axis === 0) return shape.batch;
  if (axis === 3) return headSize();
  return undefined;
}

/**
 * Size of an attention head, from the width of the queries that reach the first fused attention, or else from
 * its rotary cache.
 */
function headSize(graph: Graph): number | undefined {
  const at = graph.nodes.findIndex((node) =>
    node.domain === MICROSOFT && /^(GroupQuery|MultiHead)Attention$/.test(node.opType)
  );
  if (at < 0) return undefined;
  const attention = graph.nodes[at];
  const heads = intAttribute(attention, "num_heads", 0);
  const groups = intAttribute(attention, "kv_num_heads", heads);
  const before = { ...graph, nodes: graph.nodes.slice(0, at) };
  const width = partialShapes(before).get(attention.inputs[0])?.at(-1);
  if (width !== undefined && heads > 0) {
    const packed = (attention.inputs[1] ?? "") === "";
    return width / (packed ? heads + 2 * groups : heads);
  }
  const cos = graph.initializers.get(attention.inputs[7] ?? "");
  return cos === undefined ? undefined : cos.dims[1] * 2;
}
