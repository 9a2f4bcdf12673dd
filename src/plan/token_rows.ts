/**
 * Which values of a lowered graph hold one row a token, and which nodes compute each row by itself.
 *
 * A value is [batch, length, ...] or flat, [batch · length, ...]. That its leading axes are tokens
 * follows from where it comes from (it was computed from `input_ids`, or stands beside such a value
 * in an Add), or from where all of it goes.
 */
import { intAttribute, intsAttribute } from "../graph/attributes.ts";
import { dimsIn } from "../graph/facts.ts";
import { elementCount, toNumbers } from "../graph/tensor.ts";
import { GRAFT, type Graph, MICROSOFT, type Node } from "../graph/types.ts";
import { attendedOf } from "../ops/internal/attend.ts";
import { type BatchShape, TOKEN_INPUTS } from "./inputs.ts";
import { isElementwise, isNormalization } from "./row_wise.ts";

/** How many leading axes are the tokens': two of [batch, length, ...], one of a flat value. */
export type Lead = 1 | 2;

/** A node that computes each row by itself. */
interface RowWise {
  /** Inputs that hold a row for each row of the outputs; the others are the same for all rows. */
  readonly operands: readonly string[];
  readonly outputs: readonly string[];
}

/** graft's own operators that compute each row by itself; of a dropout mask any rows are as good. */
const ROWS_OF_GRAFT = new Set(["QuantizedLinear", "DropoutMask"]);

/** The position of every sequence's first token, where a node rotates all tokens by their positions. */
export function firstPosition({ initializers }: Graph, node: Node): number | undefined {
  if (node.opType !== "RotaryEmbedding" || node.domain !== MICROSOFT) return undefined;
  const first = initializers.get(node.inputs[1]);
  return first && elementCount(first.dims) === 1 ? Number(toNumbers(first)[0]) : undefined;
}

const REDUCTIONS = new Set(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"]);

export class TokenRows {
  readonly #graph: Graph;
  readonly #shape: BatchShape;
  readonly #rotates: boolean;
  /** Values that token ids or masks reach. */
  readonly #fromTokens = new Set<string>();
  readonly #rows = new Set<string>();
  readonly #rowWise = new Map<Node, RowWise>();

  /**
   * @param rotates whether rotations by positions count: whoever computes some of the rows has to give
   *   each its own position then
   */
  constructor(lowered: Graph, shape: BatchShape, rotates = false) {
    this.#graph = lowered;
    this.#shape = shape;
    this.#rotates = rotates;
    this.#followInputs();
    this.#followReaders();
  }

  /** Leading token axes of a value that holds one row a token; `undefined` for all others. */
  leadOf(value: string): Lead | undefined {
    return this.#rows.has(value) ? this.leadingAxes(value) : undefined;
  }

  /** The inputs with a row for each row of the outputs, where a node computes each by itself. */
  operandsOf(node: Node): readonly string[] | undefined {
    const found = this.#rowWise.get(node);
    return found?.outputs.every((output) => this.#rows.has(output)) ? found.operands : undefined;
  }

  /** Whether token ids or masks reach a value. */
  isFromTokens(value: string): boolean {
    return this.#fromTokens.has(value);
  }

  /** Axes of a value that have the sizes of the tokens'. */
  leadingAxes(value: string): Lead | undefined {
    const { batch, length } = this.#shape;
    const dims = this.#dims(value);
    if (dims.length >= 2 && dims[0] === batch && dims[1] === length) return 2;
    return dims.length >= 1 && dims[0] === batch * length ? 1 : undefined;
  }

  #dims(value: string): readonly number[] {
    return dimsIn(this.#graph, value);
  }

  /** Forward: what is computed from the token inputs, row by row. */
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

  /** Backward: a value that is read row by row alone, by nodes whose results hold tokens' rows. */
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

  /** Looks up a row of a table for each token. */
  #readsEmbedding(node: Node): boolean {
    const gathers = node.opType === "Gather" && node.domain === "" ||
      node.opType === "GatherBlockQuantized";
    const axis = intAttribute(node, node.opType === "Gather" ? "axis" : "gather_axis", 0);
    return gathers && axis === 0 && this.#rows.has(node.inputs[1]);
  }

  /** Works element by element with a value of rows, and another of no matter which shape. */
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
      : this.#firstOperand(node, lead);
    return operands === undefined ? undefined : { operands, outputs };
  }

  #elementwiseOperands(node: Node, lead: Lead): readonly string[] | undefined {
    const rank = this.#dims(node.outputs[0]).length;
    const operands: string[] = [];
    for (const input of node.inputs) {
      if (input === "") continue;
      const dims = this.#dims(input);
      if (dims.length === rank && this.leadingAxes(input) === lead) operands.push(input);
      // Right-aligned, what reaches into the tokens' axes must be 1 there.
      else if (dims.slice(0, Math.max(0, dims.length - rank + lead)).some((dim) => dim !== 1)) {
        return undefined;
      }
    }
    return operands;
  }

  /** Operators whose first input has the rows, and whose other inputs are the same for all. */
  #firstOperand(node: Node, lead: Lead): readonly string[] | undefined {
    const [x, ...others] = node.inputs;
    const from = this.leadingAxes(x);
    if (from === undefined) return undefined;
    if (node.opType === "Concat") {
      const alike = node.inputs.every((input) => this.leadingAxes(input) === lead);
      return alike && this.#axis(node, x, "axis", 0) >= lead ? node.inputs : undefined;
    }
    if (others.some((input) => this.#fromTokens.has(input))) return undefined;
    return this.#keepsRows(node, x, from, lead) ? [x] : undefined;
  }

  #keepsRows(node: Node, x: string, from: Lead, lead: Lead): boolean {
    if (firstPosition(this.#graph, node) !== undefined) {
      return this.#rotates && lead === 2 && this.#dims(x).length === 3;
    }
    if (node.domain === GRAFT) return ROWS_OF_GRAFT.has(node.opType) && from === lead;
    if (node.domain !== "") return false;
    if (node.opType === "Reshape") return true;
    if (from !== lead) return false;
    const matrix = () => this.#dims(node.inputs[1]).length === 2;
    if (node.opType === "MatMul") return this.#dims(x).length > lead && matrix();
    if (node.opType === "Gemm") return intAttribute(node, "transA", 0) === 0;
    if (isNormalization(node)) return this.#axis(node, x, "axis", -1) >= lead;
    if (node.opType === "Softmax") return this.#axis(node, x, "axis", -1) >= lead;
    if (node.opType === "Split") return this.#axis(node, x, "axis", 0) >= lead;
    if (node.opType === "Transpose") {
      return intsAttribute(node, "perm", []).slice(0, lead).every((axis, i) => axis === i) &&
        node.attributes.perm !== undefined;
    }
    if (node.opType === "Slice") return this.#axesBehind(node.inputs[3], x, lead);
    if (REDUCTIONS.has(node.opType)) return this.#axesBehind(node.inputs[1], x, lead);
    return false;
  }

  #axis(node: Node, x: string, attribute: string, absent: number): number {
    const axis = intAttribute(node, attribute, absent);
    return axis < 0 ? axis + this.#dims(x).length : axis;
  }

  /** Whether constant axes all lie behind the tokens'. */
  #axesBehind(axes: string | undefined, x: string, lead: Lead): boolean {
    const value = axes === undefined ? undefined : this.#graph.initializers.get(axes);
    if (value === undefined || elementCount(value.dims) === 0) return false;
    const rank = this.#dims(x).length;
    return Array.from(toNumbers(value), Number).every((axis) =>
      (axis < 0 ? axis + rank : axis) >= lead
    );
  }
}
