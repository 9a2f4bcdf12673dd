/**
 * Builds a graph of known shapes node by node, inferring type and shape of each value at once.
 *
 * Lowering, gradients and plans all emit through this one class. A constant value is never emitted as a
 * node: it becomes an initializer, so shape arithmetic disappears.
 */
import type { DataType } from "./dtype.ts";
import { asDims, extentsOf, int64Of, isNamed, isSized, named, sizedName } from "./extents.ts";
import { attributesText, digestOfText, tensorText } from "./graph_text.ts";
import { areEqual, asDimension, productOf } from "./extent_arithmetic.ts";
import type { Extent } from "./size.ts";
import { float32, type Tensor } from "./tensor.ts";
import { type Attribute, type Graph, MICROSOFT, type Node, type ValueInfo } from "./types.ts";

/** A value's type, its shape and, for a constant, its contents. */
export interface Known {
  /** Element type. */
  readonly dtype: DataType;
  /** Dimensions; some may follow from a batch's sizes (`extents.ts`). */
  readonly dims: readonly number[];
  /** Contents, if the value is an initializer or was folded. May be large: check `dims` first. */
  readonly value?: Tensor;
}

/** Infers types and shapes of a node's outputs; throws if the inputs do not fit the operator. */
export type Infer = (node: Node, inputs: readonly (Known | undefined)[]) => readonly Known[];

/** Attributes by name. */
export type Attributes = Readonly<Record<string, Attribute>>;

/** Most elements of a value: logits of 256 texts of a million tokens have fewer. */
const MOST_ELEMENTS = 2 ** 40;

/**
 * Checks the number of elements: sizes multiply, so a few nodes that copy their input can exceed all memory.
 */
function checkShape(name: string, shape: readonly Extent[]): void {
  let count = 1;
  for (const extent of shape) {
    const dim = typeof extent === "number" ? extent : extent.value;
    count *= dim;
    if (Number.isInteger(dim) && dim >= 0 && count <= MOST_ELEMENTS) continue;
    throw new RangeError(`"${name}" would be [${shape}], which no memory holds`);
  }
}

/** Names a constant that a node computes from constants and sizes after the node and its inputs. */
function namedAfter(
  value: Tensor,
  { domain, opType, attributes }: Node,
  inputs: readonly (Known | undefined)[],
  output: number,
): Tensor {
  if (!isSized(value) || isNamed(value)) return value;
  const read = inputs.map((input) =>
    input?.value === undefined ? input && "?" : tensorText(input.value)
  );
  // Where only the shape of an input is known, every constant that follows from sizes has a name already.
  if (read.includes("?")) return value;
  const text = `${domain}.${opType} ${attributesText(attributes)}(${read.join("; ")})`;
  return named(value, `output ${output} of ${digestOfText(text)}`);
}

/** Builds a graph node by node, with shapes known at every step. */
export class GraphBuilder {
  readonly #infer: Infer;
  readonly #known = new Map<string, Known>();
  readonly #nodes: Node[] = [];
  readonly #inputs: ValueInfo[] = [];
  readonly #initializers = new Map<string, Tensor>();
  readonly #constants = new Map<string, string>();
  /** Names of one-dimensional int64 constants, by their entries. */
  readonly #ints = new Map<string, string>();
  readonly #reserved = new Set<string>();
  #next = 0;

  /**
   * Begins an empty graph.
   *
   * @param infer the shape inference to use; `src/ops` exports one
   */
  constructor(infer: Infer) {
    this.#infer = infer;
  }

  /** The nodes emitted so far, in topological order. */
  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  /** Reserves names for values that are added later: other values get other names. */
  reserve(names: Iterable<string>): void {
    for (const name of names) this.#reserved.add(name);
  }

  /** An unused name, derived from `hint`. */
  fresh(hint: string): string {
    let name = hint;
    while (name === "" || this.#isTaken(name)) name = `${hint}~${this.#next++}`;
    return name;
  }

  /** Declares a graph input. */
  input(name: string, dtype: DataType, shape: readonly Extent[]): string {
    const { dims } = this.#define(name, { dtype, dims: asDims([...extentsOf(shape)]) });
    this.#inputs.push({ name, type: { dtype, shape: dims } });
    return name;
  }

  /** Adds a constant under a name of its own. */
  initializer(name: string, value: Tensor): string {
    this.#define(name, { dtype: value.dtype, dims: value.dims, value });
    this.#initializers.set(name, value);
    return name;
  }

  /** Adds an initializer whose contents will change; values computed from it are not folded. */
  variable(name: string, value: Tensor): string {
    this.#define(name, { dtype: value.dtype, dims: value.dims });
    this.#initializers.set(name, value);
    return name;
  }

  /** A small constant; equal ones share one initializer. */
  constant(value: Tensor, hint = "const"): string {
    const key = isSized(value)
      ? sizedName(value)
      : value.bytes.byteLength <= 256
      ? `${value.dtype}[${value.dims}]${Array.from(value.bytes).join()}`
      : undefined;
    const found = key === undefined ? undefined : this.#constants.get(key);
    if (found !== undefined) return found;
    const name = this.initializer(this.fresh(hint), value);
    if (key !== undefined) this.#constants.set(key, name);
    return name;
  }

  /** A float32 scalar constant. */
  scalar(value: number): string {
    return this.constant(float32([], [value]), "scalar");
  }

  /** A one-dimensional int64 constant: axes, shapes, split sizes. */
  int64s(values: readonly Extent[]): string {
    const entries = extentsOf(values);
    const key = entries.join();
    let name = this.#ints.get(key);
    if (name === undefined) {
      name = this.constant(int64Of([entries.length], entries), "ints");
      this.#ints.set(key, name);
    }
    return name;
  }

  /** Type, shape and contents of a value; throws a `ReferenceError` for an undefined name. */
  known(name: string): Known {
    const found = this.#known.get(name);
    if (found === undefined) throw new ReferenceError(`No value is named "${name}" in this graph`);
    return found;
  }

  /** Whether a value of this name exists. */
  has(name: string): boolean {
    return this.#known.has(name);
  }

  /** Dimensions of a value. */
  dims(name: string): readonly number[] {
    return this.known(name).dims;
  }

  /** Dimensions of a value as extents; reading those that follow from a batch's sizes settles nothing. */
  shape(name: string): readonly Extent[] {
    return extentsOf(this.dims(name));
  }

  /** Applies an ONNX operator with one output and returns the output's name. */
  op(opType: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.emit({ opType, domain: "", inputs, attributes, outputCount: 1 })[0];
  }

  /** Applies an ONNX operator with `outputCount` outputs. */
  ops(
    opType: string,
    inputs: readonly string[],
    outputCount: number,
    attributes: Attributes = {},
  ): readonly string[] {
    return this.emit({ opType, domain: "", inputs, attributes, outputCount });
  }

  /** Applies one of ONNX Runtime's own operators with one output. */
  microsoft(opType: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.emit({ opType, domain: MICROSOFT, inputs, attributes, outputCount: 1 })[0];
  }

  /** Reshapes to known dimensions; returns the value itself if it already has them. */
  reshape(value: string, dims: readonly Extent[]): string {
    const [now, wanted] = [this.shape(value), extentsOf(dims)];
    if (now.length === wanted.length && now.every((dim, i) => dim === wanted[i])) return value;
    if (!areEqual(productOf(now), productOf(wanted))) {
      throw new RangeError(`Cannot reshape "${value}" [${now}] to [${wanted}]`);
    }
    // allowzero: a dimension of 0 means 0, since every dimension here is known.
    return this.op("Reshape", [value, this.int64s(wanted)], {
      allowzero: { kind: "int", value: 1 },
    });
  }

  /** Applies any operator. Outputs get fresh names unless `outputs` names them. */
  emit(spec: {
    readonly opType: string;
    readonly domain: string;
    readonly inputs: readonly string[];
    readonly attributes: Attributes;
    readonly outputCount?: number;
    readonly outputs?: readonly string[];
    readonly name?: string;
  }): readonly string[] {
    const outputs = spec.outputs ?? this.#freshOutputs(spec.opType, spec.outputCount ?? 1);
    const node: Node = {
      name: spec.name ?? outputs.find((o) => o !== "") ?? spec.opType,
      opType: spec.opType,
      domain: spec.domain,
      inputs: [...spec.inputs],
      outputs: [...outputs],
      attributes: spec.attributes,
    };
    this.add(node);
    return outputs;
  }

  /** Adds a node whose output names are already chosen. */
  add(node: Node): void {
    const inputs = node.inputs.map((name) => name === "" ? undefined : this.known(name));
    const known = this.#infer(node, inputs);
    const constant = node.outputs.every((name, i) => name === "" || known[i]?.value !== undefined);
    node.outputs.forEach((name, i) => {
      if (name === "") return;
      if (known[i] === undefined) {
        throw new RangeError(`${node.opType} "${node.name}" has no output number ${i}`);
      }
      if (constant) this.initializer(name, namedAfter(known[i].value!, node, inputs, i));
      else this.#define(name, { dtype: known[i].dtype, dims: known[i].dims });
    });
    if (!constant) this.#nodes.push(node);
  }

  /** The finished graph with the given outputs, without unread initializers. */
  build(name: string, outputs: readonly string[]): Graph {
    const used = new Set(outputs);
    for (const node of this.#nodes) for (const input of node.inputs) used.add(input);
    const initializers = new Map<string, Tensor>();
    for (const [key, value] of this.#initializers) if (used.has(key)) initializers.set(key, value);
    const valueInfo = new Map<string, ValueInfo>();
    for (const [key, { dtype, dims }] of this.#known) {
      valueInfo.set(key, { name: key, type: { dtype, shape: dims } });
    }
    return {
      name,
      inputs: this.#inputs,
      outputs: outputs.map((output) => {
        const { dtype, dims } = this.known(output);
        return { name: output, type: { dtype, shape: dims } };
      }),
      initializers,
      nodes: [...this.#nodes],
      valueInfo,
    };
  }

  #freshOutputs(opType: string, count: number): string[] {
    while (true) {
      const base = `${opType}~${this.#next++}`;
      const names = count === 1 ? [base] : Array.from({ length: count }, (_, i) => `${base}.${i}`);
      if (!names.some((name) => this.#isTaken(name))) return names;
    }
  }

  #isTaken(name: string): boolean {
    return this.#known.has(name) || this.#reserved.has(name);
  }

  #define(name: string, given: Known): Known {
    if (name === "") throw new RangeError("A value needs a name");
    if (this.#known.has(name)) throw new RangeError(`Two values are named "${name}"`);
    const shape = extentsOf(given.dims);
    checkShape(name, shape);
    const known = shape === given.dims
      ? given
      : { ...given, dims: asDims(shape.map((extent) => asDimension(extent))) };
    this.#known.set(name, known);
    return known;
  }
}
