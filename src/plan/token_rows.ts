/**
 * Which values of a lowered graph hold one row per token, and which nodes compute each row on its own.
 *
 * A value is [batch, length, ...] or flat, [batch · length, ...]. Whether its leading axes are tokens follows
 * from its source (it is computed from `input_ids`, or is an operand of an Add together with such a value),
 * or from all of its readers.
 */
import { intAttribute } from "../graph/attributes.ts";
import { dimsIn, shapeIn } from "../graph/facts.ts";
import { times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { elementCount, toNumbers } from "../graph/tensor.ts";
import { type Graph, MICROSOFT, type Node } from "../graph/types.ts";
import { attendedOf } from "../ops/internal/attend.ts";
import { isElementwise, traitsOf } from "../ops/registry.ts";
import { type BatchShape, TOKEN_INPUTS } from "./inputs.ts";

/** Number of leading axes that are tokens: two for [batch, length, ...], one for a flat value. */
export type Lead = 1 | 2;

/** A node that computes each row on its own. */
interface RowWise {
  /** Inputs that hold a row for each row of the outputs; the others are the same for all rows. */
  readonly operands: readonly string[];
  readonly outputs: readonly string[];
}

/** The position of every sequence's first token, where a node rotates all tokens by their positions. */
export function firstPosition({ initializers }: Graph, node: Node): number | undefined {
  if (node.opType !== "RotaryEmbedding" || node.domain !== MICROSOFT) return undefined;
  const first = initializers.get(node.inputs[1]);
  return first && elementCount(first.dims) === 1 ? Number(toNumbers(first)[0]) : undefined;
}

export class TokenRows {
  readonly #graph: Graph;
  readonly #shape: BatchShape;
  /** Tokens of all sequences. */
  readonly #positions: Extent;
  readonly #rotates: boolean;
  /** Values that depend on token ids or masks. */
  readonly #fromTokens = new Set<string>();
  readonly #rows = new Set<string>();
  readonly #rowWise = new Map<Node, RowWise>();

  /**
   * @param rotates whether rotations by positions count as well: rows that are computed alone must then be
   *   given their own positions
   */
  constructor(lowered: Graph, shape: BatchShape, rotates = false) {
    this.#graph = lowered;
    this.#shape = shape;
    this.#positions = times(shape.batch, shape.length);
    this.#rotates = rotates;
    this.#followInputs();
    this.#followReaders();
  }

  /** Leading token axes of a value that holds one row per token; `undefined` for all others. */
  leadOf(value: string): Lead | undefined {
    return this.#rows.has(value) ? this.leadingAxes(value) : undefined;
  }

  /** The inputs with a row for each row of the outputs, where a node computes each row on its own. */
  operandsOf(node: Node): readonly string[] | undefined {
    const found = this.#rowWise.get(node);
    return found?.outputs.every((output) => this.#rows.has(output)) ? found.operands : undefined;
  }

  /** Whether a value depends on token ids or masks. */
  isFromTokens(value: string): boolean {
    return this.#fromTokens.has(value);
  }

  /** Leading axes of a value whose sizes are those of tokens. */
  leadingAxes(value: string): Lead | undefined {
    const { batch, length } = this.#shape;
    const dims = this.#dims(value);
    if (dims.length >= 2 && dims[0] === batch && dims[1] === length) return 2;
    return dims.length >= 1 && dims[0] === this.#positions ? 1 : undefined;
  }

  #dims(value: string): readonly Extent[] {
    return shapeIn(this.#graph, value);
  }

  /** Forward: values computed row by row from the token inputs. */
  #followInputs(): void {
    for (const { name } of this.#graph.inputs) {
      if (!TOKEN_INPUTS.includes(name)) continue;
      this.#fromTokens.add(name);
      if (this.leadingAxes(name) === 2) this.#rows.add(name);
    }
    for (const node of this.#graph.nodes) {
      const outputs = node.outputs.filter((output) => output !== "");
      if (!node.inputs.some((input) => this.#fromTokens.has(input))) continue;
      for (const output of outputs) this.#fromTokens.add(output);
      const rowWise = this.#asRowWise(node, outputs);
      if (rowWise !== undefined) this.#rowWise.set(node, rowWise);
      const known = rowWise?.operands.some((operand) => this.#rows.has(operand)) ||
        this.#readsEmbedding(node) || this.#standsBeside(node) || attendedOf(node) !== undefined;
      if (!known) continue;
      for (const output of outputs) if (this.leadingAxes(output)) this.#rows.add(output);
    }
  }

  /** Backward: values that are read only row by row, by nodes whose results hold rows of tokens. */
  #followReaders(): void {
    const readers = new Map<string, Node[]>();
    for (const node of this.#graph.nodes) {
      for (const input of new Set(node.inputs)) {
        const found = readers.get(input);
        if (found === undefined) readers.set(input, [node]);
        else found.push(node);
      }
    }
    const results = new Set(this.#graph.outputs.map(({ name }) => name));
    for (const node of [...this.#graph.nodes].reverse()) {
      for (const value of node.outputs) {
        const reading = readers.get(value);
        if (reading === undefined || results.has(value)) continue;
        if (this.#rows.has(value) || !this.leadingAxes(value)) continue;
        const byRow = reading.every((reader) => this.operandsOf(reader)?.includes(value));
        if (byRow && this.#fromTokens.has(value)) this.#rows.add(value);
      }
    }
  }

  /** Whether a node looks up a row of a table for each token. */
  #readsEmbedding(node: Node): boolean {
    const gathers = node.opType === "Gather" && node.domain === "" ||
      node.opType === "GatherBlockQuantized";
    const axis = intAttribute(node, node.opType === "Gather" ? "axis" : "gather_axis", 0);
    return gathers && axis === 0 && this.#rows.has(node.inputs[1]);
  }

  /** Whether a node is elementwise over a value of rows and another of any shape. */
  #standsBeside(node: Node): boolean {
    if (!isElementwise(node) && node.opType !== "DequantizeLinear") return false;
    const rank = this.#dims(node.outputs[0]).length;
    return node.inputs.some((input) =>
      this.#rows.has(input) && this.#dims(input).length === rank && this.leadingAxes(input) === 2
    );
  }

  #asRowWise(node: Node, outputs: readonly string[]): RowWise | undefined {
    const lead = this.leadingAxes(outputs[0]);
    if (lead === undefined) return undefined;
    const operands = isElementwise(node)
      ? this.#elementwiseOperands(node, lead)
      : this.#operandsWithRows(node, lead);
    return operands === undefined ? undefined : { operands, outputs };
  }

  #elementwiseOperands(node: Node, lead: Lead): readonly string[] | undefined {
    const rank = this.#dims(node.outputs[0]).length;
    const operands: string[] = [];
    for (const input of node.inputs) {
      if (input === "") continue;
      const dims = this.#dims(input);
      if (dims.length === rank && this.leadingAxes(input) === lead) operands.push(input);
      // Aligned at the right, dimensions that reach the token axes must be 1 there.
      else if (dims.slice(0, Math.max(0, dims.length - rank + lead)).some((dim) => dim !== 1)) {
        return undefined;
      }
    }
    return operands;
  }

  /**
   * The inputs with rows, for a node that computes rows from rows under a condition; its other inputs are the
   * same for all rows.
   */
  #operandsWithRows(node: Node, lead: Lead): readonly string[] | undefined {
    const of = this.#rotatesRows(node, lead) ? "first" : this.#rowsOf(node, lead);
    if (of === undefined || of === "all") return of && node.inputs;
    const [x, ...others] = node.inputs;
    return others.some((input) => this.#fromTokens.has(input)) ? undefined : [x];
  }

  #rowsOf(node: Node, lead: Lead): "first" | "all" | undefined {
    const { rows } = traitsOf(node);
    if (typeof rows === "string") return undefined;
    return rows(node, {
      lead,
      leadOf: (value) => this.leadingAxes(value),
      dims: (value) => dimsIn(this.#graph, value),
      constant: (value) => this.#graph.initializers.get(value),
    });
  }

  /** Whether a node rotates all tokens by their positions, where that counts. */
  #rotatesRows(node: Node, lead: Lead): boolean {
    return this.#rotates && firstPosition(this.#graph, node) !== undefined && lead === 2 &&
      this.leadingAxes(node.inputs[0]) !== undefined && this.#dims(node.inputs[0]).length === 3;
  }
}
