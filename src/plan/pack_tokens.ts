/**
 * Packs a batch's real tokens: whatever treats tokens one by one runs over them alone, and only
 * attention sees the padding.
 *
 * A value [batch, length, ...] becomes [1, rows, ...]. Its first rows are the real tokens, the rest
 * copies of one padding token, so that unpacking gives every padding place what that token would
 * have. Packing and unpacking are Gathers, each the other's transpose: padding takes no part in
 * the loss, so its cotangents are zero.
 */
import { int } from "../graph/attributes.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { prune } from "../graph/passes/prune.ts";
import { GRAFT, type Graph, type Node } from "../graph/types.ts";
import { inferTraining } from "../ops/registry.ts";
import { constantValues } from "../graph/passes/constants.ts";
import { DROPOUT_SEED } from "./dropout.ts";
import type { BatchShape } from "./inputs.ts";
import { PACKED_PLACES, PACKED_ROWS } from "./names.ts";
import { isNormalization } from "./row_wise.ts";
import { type Lead, TokenRows } from "./token_rows.ts";

/**
 * @param lowered graph of concrete shapes
 * @param trainable initializers that change, from which nothing may be folded
 * @param rows packed rows: more than the real tokens, less than batch · length
 * @returns the graph with the inputs {@linkcode PACKED_PLACES} and {@linkcode PACKED_ROWS}; the same
 *   graph where nothing in it can be packed
 */
export function packTokens(
  lowered: Graph,
  shape: BatchShape,
  rows: number,
  trainable: ReadonlySet<string>,
): Graph {
  const pass = new Packing(lowered, shape, rows, trainable);
  for (const node of lowered.nodes) pass.add(node);
  return pass.finish();
}

/** What the names of values end in that only take another form, packed or padded. */
export const PACKED_SUFFIXES = [".packed", ".padded"] as const;
const [PACKED, PADDED] = PACKED_SUFFIXES;

class Packing {
  readonly #lowered: Graph;
  readonly #shape: BatchShape;
  readonly #rows: number;
  readonly #tokens: TokenRows;
  readonly #b = new GraphBuilder(inferTraining);
  /** Values that are packed under their own names. */
  readonly #packed = new Map<string, Lead>();
  readonly #seeded: ReadonlySet<string>;
  readonly #originals: ReadonlyMap<string, readonly number[]>;

  constructor(
    lowered: Graph,
    shape: BatchShape,
    rows: number,
    trainable: ReadonlySet<string>,
  ) {
    this.#lowered = lowered;
    this.#shape = shape;
    this.#rows = rows;
    this.#tokens = new TokenRows(lowered, shape);
    const constants = constantValues(lowered);
    this.#seeded = new Set(
      [...constantValues(lowered, [DROPOUT_SEED])].filter((name) => !constants.has(name)),
    );
    this.#originals = new Map(
      [...lowered.valueInfo].map(([name, { type }]) => [name, type!.shape as readonly number[]]),
    );
    this.#b.reserve(this.#originals.keys());
    for (const { name, type } of lowered.inputs) {
      this.#b.input(name, type!.dtype, type!.shape as readonly number[]);
    }
    this.#b.input(PACKED_PLACES, "int64", [rows]);
    this.#b.input(PACKED_ROWS, "int64", [shape.batch * shape.length]);
    for (const [name, value] of lowered.initializers) {
      if (trainable.has(name)) this.#b.variable(name, value);
      else this.#b.initializer(name, value);
    }
  }

  add(node: Node): void {
    const operands = this.#tokens.operandsOf(node);
    const begins = startsPacking(node) ||
      operands?.some((operand) => this.#packed.has(operand));
    if (operands === undefined || !begins) {
      this.#b.add({
        ...node,
        inputs: node.inputs.map((input) => this.#unpackedForm(input)),
        rest: undefined,
      });
      return;
    }
    const inputs = node.inputs.map((input) =>
      operands.includes(input) ? this.#packedForm(input) : input
    );
    if (node.opType === "Reshape") inputs[1] = this.#b.int64s(this.#packedDims(node.outputs[0]));
    this.#b.add({ ...node, inputs, rest: undefined });
    for (const output of node.outputs) {
      if (output !== "") this.#packed.set(output, this.#tokens.leadOf(output)!);
    }
  }

  finish(): Graph {
    if (this.#packed.size === 0) return this.#lowered;
    const outputs = this.#lowered.outputs.map(({ name }) => this.#unpackedForm(name));
    return prune(this.#b.build(this.#lowered.name, outputs));
  }

  /** Dimensions that a value has when packed. */
  #packedDims(value: string): readonly number[] {
    const dims = this.#originals.get(value)!;
    const lead = this.#tokens.leadingAxes(value)!;
    return lead === 2 ? [1, this.#rows, ...dims.slice(2)] : [this.#rows, ...dims.slice(1)];
  }

  #packedForm(value: string): string {
    if (this.#packed.has(value)) return value;
    const b = this.#b;
    const name = `${value}${PACKED}`;
    if (b.has(name)) return name;
    const { batch, length } = this.#shape;
    const behind = b.dims(value).slice(this.#tokens.leadingAxes(value)!);
    const flat = b.reshape(value, [batch * length, ...behind]);
    // Any rows of a dropout mask are as good as others, and those made from the seed need no places.
    const chosen = this.#seeded.has(value)
      ? b.op("Slice", [flat, b.int64s([0]), b.int64s([this.#rows]), b.int64s([0])])
      : b.op("Gather", [flat, PACKED_PLACES], { axis: int(0) });
    return this.#named(name, chosen, this.#packedDims(value));
  }

  #unpackedForm(value: string): string {
    const lead = this.#packed.get(value);
    if (lead === undefined) return value;
    const b = this.#b;
    const name = `${value}${PADDED}`;
    if (b.has(name)) return name;
    const flat = b.reshape(value, [this.#rows, ...b.dims(value).slice(lead)]);
    const gathered = b.op("Gather", [flat, PACKED_ROWS], { axis: int(0) });
    return this.#named(name, gathered, this.#originals.get(value)!);
  }

  #named(name: string, value: string, dims: readonly number[]): string {
    return this.#b.emit({
      opType: "Reshape",
      domain: "",
      inputs: [value, this.#b.int64s(dims)],
      attributes: { allowzero: int(1) },
      outputs: [name],
    })[0];
  }
}

/** Packing pays from the first product or normalisation on; what comes before is lookups. */
function startsPacking(node: Node): boolean {
  return node.domain === GRAFT || node.opType === "MatMul" || node.opType === "Gemm" ||
    isNormalization(node);
}
