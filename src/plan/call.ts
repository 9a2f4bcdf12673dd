/**
 * A planned call of a compiled graph: which named tensors go in and which come out.
 *
 * Graphs are renamed to canonical names, so that two pieces that differ only in which weights they read have
 * equal text and share one compiled session.
 */
import { GraphBuilder, type Known } from "../graph/builder.ts";
import { byteLength } from "../graph/dtype.ts";
import { extentsOf, isSized } from "../graph/extents.ts";
import { countIn, typeIn } from "../graph/facts.ts";
import { neededNodes } from "../graph/passes/prune.ts";
import { settled } from "../graph/extent_arithmetic.ts";
import type { Graph, Node, ValueInfo, ValueType } from "../graph/types.ts";
import type { Tensor } from "../graph/tensor.ts";
import { declareSum, declareTranspose } from "../ops/gather.ts";
import { CanonicalNames, isComputed } from "./canonical_names.ts";
import { SALT_SUFFIX } from "./dropout.ts";
import { expand } from "./expand.ts";
import { inferTraining, kindOf } from "../ops/registry.ts";
import { addComputing } from "./computing.ts";
import { type Kept, restoring, storedAs } from "./kept_form.ts";
import { type CallPassContext, tidied } from "./call_passes.ts";
import { type CallGraph, isOverSizes, keyOfCall } from "./call_graph.ts";
import { FIRST_ROWS, PACKED, SHARED } from "./names.ts";
import type { PassControl } from "./planning_pass.ts";

/** One run of a session within a step. */
export interface PlannedCall extends CallGraph {
  /** Equal for calls that can share a compiled session. */
  readonly key: string;
  /**
   * Canonical input name → name of the tensor to feed; a constant that follows from a batch's sizes is named
   * after its contents (`sizedName`).
   */
  readonly feeds: ReadonlyMap<string, string>;
  /** Canonical output name → name that the result gets. */
  readonly fetches: ReadonlyMap<string, string>;
  /** What this call is, for errors and profiles. */
  readonly label: string;
  /** Whether it computes the same for all parts of a batch that run side by side. */
  readonly isShared?: boolean;
  /** The call over all rows of a batch, where this one computes some of them (`rows_in_turn.ts`). */
  readonly partOf?: PlannedCall;
}

/** Constants up to this size are part of a graph's text; larger ones are fed and never copied. */
const EMBEDDED_BYTES = 1024;

/**
 * Names of the initializers that are fed to sessions instead of being written into them: weights,
 * their scales, and everything trainable.
 */
export function fedConstants(lowered: Graph, trainable: ReadonlySet<string>): Set<string> {
  const fed = new Set(trainable);
  for (const [name, value] of lowered.initializers) {
    // A constant that follows from a batch's sizes is fed under a name of its own.
    if (isSized(value)) continue;
    const bytes = byteLength(value.dtype, settled(countIn(lowered, name)));
    if (bytes > EMBEDDED_BYTES || name.endsWith(SALT_SUFFIX)) fed.add(name);
    // A per-channel vector differs from block to block, whatever its size.
    else if (value.dims.length > 0 && value.dtype === "float32" && bytes > 64) {
      fed.add(name);
    }
  }
  for (const node of lowered.nodes) {
    // Scales and zero points belong to a weight, however small they are.
    const kind = kindOf(node);
    if (kind !== "dequantization" && kind !== "packed lookup") continue;
    for (const input of node.inputs) if (lowered.initializers.has(input)) fed.add(input);
  }
  return fed;
}

/** What the pieces of one graph have in common. */
export interface Whole {
  readonly lowered: Graph;
  /** Initializers that are fed rather than embedded; the trainable ones included. */
  readonly fed: ReadonlySet<string>;
  /** Whether denormal numbers are flushed to zero where it runs; default false. */
  readonly flushed?: boolean;
  readonly passControl?: PassControl;
}

/** A builder holding the given nodes, with what they read from outside declared as inputs. */
export function builderOver(
  { lowered, fed, flushed = false }: Whole,
  nodes: readonly Node[],
): GraphBuilder {
  const b = new GraphBuilder(inferTraining);
  for (const node of nodes) {
    b.reserve(node.inputs);
    b.reserve(node.outputs);
  }
  for (const node of nodes) {
    for (const input of node.inputs) declare(b, lowered, input, fed);
    declarePacking(b, lowered, node.inputs[1], fed);
    addComputing(b, node, flushed);
  }
  return b;
}

/**
 * Declares how packing and unpacking, Gathers by `indices`, are reversed: they are each other's transposes.
 */
function declarePacking(
  b: GraphBuilder,
  lowered: Graph,
  indices: string,
  fed: ReadonlySet<string>,
): void {
  switch (indices) {
    case PACKED.positions:
      return declareTranspose(b, indices, declare(b, lowered, PACKED.rows, fed));
    case PACKED.rows:
      return declareTranspose(b, indices, declare(b, lowered, PACKED.positions, fed));
    case SHARED.positions: {
      const { dtype } = typeIn(lowered, SHARED.rows)!;
      if (!b.has(FIRST_ROWS)) b.input(FIRST_ROWS, dtype, [countIn(lowered, SHARED.rows)]);
      return declareTranspose(b, indices, FIRST_ROWS);
    }
    case SHARED.rows:
      return declareSum(b, indices);
  }
}

/** Declares a value of the lowered graph that a builder does not compute itself. */
export function declare(
  b: GraphBuilder,
  lowered: Graph,
  name: string,
  fed: ReadonlySet<string>,
): string {
  if (name === "" || b.has(name)) return name;
  const constant = lowered.initializers.get(name);
  if (constant !== undefined && !fed.has(name)) return b.initializer(name, constant);
  const type = typeIn(lowered, name);
  if (type === undefined) throw new ReferenceError(`No value is named "${name}"`);
  return b.input(name, type.dtype, type.dims);
}

export interface CallOptions extends Partial<Omit<CallPassContext, "outputs">> {
  /** Values to take from the step instead of computing them: kept activations. */
  readonly given?: Kept;
  /** Which planning passes over the call are left out, and an observer of the results of the others. */
  readonly passControl?: PassControl;
}

/**
 * Finishes a builder as a call: prunes, expands graft's own operators, applies the passes over calls
 * (`call_passes.ts`), renames canonically, computes the key.
 *
 * @param outputs value in the builder → name that the result gets in the step
 */
export function callOf(
  b: GraphBuilder,
  label: string,
  outputs: ReadonlyMap<string, string>,
  { given = new Map(), defersScales = false, inTiles = false, passControl }: CallOptions = {},
): PlannedCall {
  const built = b.build("step", [...outputs.keys()]);
  const restored = [...given].map(([value, form]) => restoring(value, form, b.known(value)));
  const computing = [
    ...restored.flatMap(({ nodes }) => nodes),
    ...built.nodes.map((node) => withoutGiven(node, given)),
  ];
  const constants = new Map([
    ...built.initializers,
    ...restored.flatMap(({ constants }) => [...constants]),
  ]);
  const stored = new Map(
    [...given].flatMap(([value, form]) => storedAs(value, form, b.known(value)))
      .map(({ name, known }) => [name, known]),
  );
  const between = new Map(restored.flatMap(({ known }) => [...known]));
  const known = (name: string): Known | undefined =>
    stored.get(name) ?? between.get(name) ?? (b.has(name) ? b.known(name) : undefined);
  const expanded = expand(neededNodes(computing, outputs.keys()), constants, known);
  const inputs = new Set([...built.inputs.map((input) => input.name), ...stored.keys()]);
  const kept = new Set(outputs.keys());
  const piece = {
    nodes: expanded.nodes,
    constants: expanded.initializers,
    dims: (name: string) => extentsOf(expanded.known(name)!.dims),
  };
  const { nodes, constants: written } = tidied(
    piece,
    { outputs: kept, defersScales, inTiles },
    { label, inputs },
    passControl,
  );
  const values = { inputs, constants: written, known: expanded.known };
  return canonicalCall(nodes, values, outputs, label);
}

/**
 * Turns the nodes that the outputs need into a call with canonical names.
 *
 * @param nodes of operators that the runtime has
 * @param outputs value → name that the result gets
 */
export function canonicalCall(
  nodes: readonly Node[],
  { inputs, constants, known }: {
    /** Values that are fed. */
    readonly inputs: ReadonlySet<string>;
    /** Values that are written into the graph. */
    readonly constants: ReadonlyMap<string, Tensor>;
    /** Types and shapes of values, possibly except some that nodes compute. */
    readonly known: (value: string) => Known | undefined;
  },
  outputs: ReadonlyMap<string, string>,
  label: string,
): PlannedCall {
  const names = new CanonicalNames(inputs, constants);
  // Of an operator with two results, possibly only one is wanted.
  const needed = neededNodes(nodes, outputs.keys());
  const canonical = needed.map((node, i) => renamed(node, i, names));
  const fetches = new Map<string, string>();
  for (const [value, target] of outputs) {
    const name = names.read(value);
    if (isComputed(name) && !fetches.has(name)) fetches.set(name, target);
    else {
      // An input that is passed on, or a value wanted twice, needs a node of its own.
      const copy = `p${fetches.size}`;
      canonical.push(identity(name, copy));
      fetches.set(copy, target);
    }
  }
  const { feeds, initializers, sized } = names;
  const typeOf = ({ dtype, dims }: Pick<Known, "dtype" | "dims">): ValueType => ({
    dtype,
    shape: dims,
  });
  const values = [...outputs.keys()];
  const valueInfo = new Map<string, ValueInfo>();
  const graph: Graph = {
    name: "step",
    nodes: canonical,
    inputs: [...feeds].map(([name, value]) => ({
      name,
      type: typeOf(sized.get(name) ?? known(value)!),
    })),
    outputs: [...fetches.keys()].map((name, i) => ({ name, type: typeOf(known(values[i])!) })),
    initializers,
    valueInfo,
  };
  // In a graph without sizes, the runtime infers types and shapes itself.
  if (isOverSizes({ graph, sized })) {
    for (const [value, type] of computedTypes(needed, constants, known)) {
      const name = names.read(value);
      if (!fetches.has(name)) valueInfo.set(name, { name, type: typeOf(type) });
    }
  }
  return { key: keyOfCall(graph), graph, feeds, fetches, label, sized };
}

/** The values that nodes compute, with their types, inferred where they are not known. */
function computedTypes(
  nodes: readonly Node[],
  constants: ReadonlyMap<string, Tensor>,
  known: (value: string) => Known | undefined,
): (readonly [string, Known])[] {
  const inferred = new Map<string, Known>();
  const knownOf = (value: string): Known | undefined => {
    const constant = constants.get(value);
    if (constant === undefined) return inferred.get(value) ?? known(value);
    return { dtype: constant.dtype, dims: constant.dims, value: constant };
  };
  return nodes.flatMap((node) => {
    const outputs = node.outputs.filter((output) => output !== "");
    if (!outputs.every((output) => known(output) !== undefined)) {
      inferTraining(node, node.inputs.map((input) => input === "" ? undefined : knownOf(input)))
        .forEach((type, i) => inferred.set(node.outputs[i], type));
    }
    return outputs.map((output) => [output, knownOf(output)!] as const);
  });
}

/** Names values in order of first use, not of declaration, so that equal pieces get equal names. */
function renamed(node: Node, index: number, names: CanonicalNames): Node {
  const { opType, domain, attributes } = node;
  const inputs = node.inputs.map((input) => names.read(input));
  const outputs = node.outputs.map((output) => names.computed(output));
  return { name: `${opType}_${index}`, opType, domain, inputs, outputs, attributes };
}

function identity(input: string, output: string): Node {
  return {
    name: output,
    opType: "Identity",
    domain: "",
    inputs: [input],
    outputs: [output],
    attributes: {},
  };
}

/**
 * Renames a node's outputs that are given: nothing reads them where the node is computed again for its
 * others.
 */
function withoutGiven(node: Node, given: Kept): Node {
  if (!node.outputs.some((output) => given.has(output))) return node;
  const outputs = node.outputs.map((output) => given.has(output) ? `${output}.again` : output);
  return { ...node, outputs };
}
