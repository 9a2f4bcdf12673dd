/**
 * Which calls compute each row by itself, so that they can compute a part of a batch's rows at a time: those of
 * layers in which tokens do not see each other. Beside rows they may leave sums over rows, as the gradients of
 * weights are, which one part adds to those of the part before.
 */
import { intAttribute } from "../graph/attributes.ts";
import { asDims, entriesOf, extentsOf, fillOf, isSized } from "../graph/extents.ts";
import { times } from "../graph/extent_arithmetic.ts";
import type { Extent, Size } from "../graph/size.ts";
import type { Graph, Node } from "../graph/types.ts";
import { traitsOf } from "../ops/registry.ts";
import { type CallGraph, isOverSizes, wholeGraph } from "./call_graph.ts";

/** The axis along which a value has its rows, by the names of the graph's inputs and outputs that have rows. */
export type RowAxes = ReadonlyMap<string, number>;

/**
 * Finds where a call has rows.
 *
 * @param call over the sizes of batches
 * @param rows of a batch
 * @returns `undefined` where a row depends on others, or that cannot be told
 */
export function rowAxes(call: CallGraph, rows: Size): RowAxes | undefined {
  // Only the graphs of such calls tell the shapes of all values.
  return isOverSizes(call) ? new RowWalk(call, rows).axes : undefined;
}

/**
 * What a value is: the same for every part of the rows, rows, a sum over rows, or such a sum to which that of
 * earlier batches is added.
 */
type Content = "whole" | "rows" | "sum" | "total";

/** Operators whose result for a sum is the sum of the results. */
const LINEAR = new Set(
  "Identity Reshape Transpose Slice Split Concat Squeeze Unsqueeze Neg".split(" "),
);
/** Linear in the first operand, products in either, where the other one is the same for all parts. */
const LINEAR_IN_FIRST = new Set(["Mul", "Div", "MatMul"]);
/** Operators that leave rows under another shape. */
const VIEWS = new Set(["Reshape", "Squeeze", "Unsqueeze"]);
/** The runtime's own products and roundings, of which no rule tells rows. */
const PRODUCTS = new Set(["MatMulIntegerToFloat", "FusedMatMul"]);
const ROUNDINGS = new Set(["QuantizeLinear", "DequantizeLinear"]);

class RowWalk {
  readonly axes: RowAxes | undefined;
  readonly #rows: Size;
  readonly #graph: Graph;
  readonly #shapes: ReadonlyMap<string, readonly Extent[]>;
  readonly #contents = new Map<string, Content>();

  constructor(call: CallGraph, rows: Size) {
    this.#rows = rows;
    this.#graph = wholeGraph(call);
    const { inputs, outputs, valueInfo, initializers } = this.#graph;
    this.#shapes = new Map([
      ...[...inputs, ...outputs, ...valueInfo.values()].map(({ name, type }) =>
        [name, extentsOf(type!.shape as readonly number[])] as const
      ),
      ...[...initializers].map(([name, { dims }]) => [name, extentsOf(dims)] as const),
    ]);
    if (this.#begins() && this.#graph.nodes.every((node) => this.#follows(node))) {
      this.axes = this.#found();
    }
  }

  /** Tells what the graph reads; false where some of it follows from sizes in an unknown way. */
  #begins(): boolean {
    for (const { name } of this.#graph.inputs) {
      const axis = this.#axisOf(name);
      if (axis === "unknown") return false;
      this.#contents.set(name, axis === undefined ? "whole" : "rows");
    }
    for (const [name, value] of this.#graph.initializers) {
      const entries = isSized(value) ? entriesOf(value) : [];
      const isFilled = fillOf(value) !== undefined;
      const isKnown = isFilled || entries?.every((entry) => this.#isNumberOfRows(entry));
      const axis = this.#axisOf(name);
      if (!isKnown || axis === "unknown") return false;
      this.#contents.set(name, axis === undefined ? "whole" : "rows");
    }
    return true;
  }

  /** Tells what a node makes; false where parts of the rows would make something else. */
  #follows(node: Node): boolean {
    const content = this.#made(node);
    if (content === undefined) return false;
    for (const output of node.outputs) if (output !== "") this.#contents.set(output, content);
    return true;
  }

  #made(node: Node): Content | undefined {
    const given = node.inputs.filter((input) => input !== "");
    const has = (content: Content) => given.some((input) => this.#contents.get(input) === content);
    const axes = node.outputs.filter((output) => output !== "").map((out) => this.#axisOf(out));
    if (has("total") || axes.includes("unknown")) return undefined;
    if (has("sum")) return has("rows") ? undefined : this.#ofSums(node, given);
    const leavesRows = axes.every((axis) => axis !== undefined);
    if (!has("rows")) {
      if (axes.every((axis) => axis === undefined)) return "whole";
      return leavesRows && node.opType === "Expand" ? "rows" : undefined;
    }
    if (leavesRows) return this.#isRowWise(node, given, axes[0] as number) ? "rows" : undefined;
    return axes.length === 1 && axes[0] === undefined && this.#sumsRows(node) ? "sum" : undefined;
  }

  /** What a node makes of sums over rows and values that are the same for all parts. */
  #ofSums({ opType, domain, inputs, outputs: [y] }: Node, given: readonly string[]) {
    if (domain !== "") return undefined;
    const [first, ...others] = given;
    const isSum = (value: string) => this.#contents.get(value) === "sum";
    const added = opType === "Add" || opType === "Sum";
    if (added && given.every(isSum)) return "sum";
    if (added) {
      const isLast = this.#graph.outputs.some(({ name }) => name === y);
      const before = given.filter((value) => !isSum(value));
      const isBefore = before.length === 1 &&
        this.#graph.inputs.some(({ name }) => name === before[0]);
      return isLast && isBefore ? "total" : undefined;
    }
    if (LINEAR_IN_FIRST.has(opType)) {
      const either = opType === "Mul" || opType === "MatMul";
      const count = inputs.filter(isSum).length;
      return count === 1 && (either || isSum(first)) ? "sum" : undefined;
    }
    if (!LINEAR.has(opType)) return undefined;
    const data = opType === "Concat" ? given : [first];
    const isLinear = data.every(isSum) && (opType === "Concat" || !others.some(isSum));
    return isLinear ? "sum" : undefined;
  }

  /** Whether a node that reads rows and makes rows computes each from those at its place. */
  #isRowWise(node: Node, given: readonly string[], axis: number): boolean {
    const { opType, inputs: [x, scale], outputs: [y] } = node;
    const hasRows = (value: string) => this.#contents.get(value) === "rows";
    const onlyFirst = hasRows(x) && !given.slice(1).some(hasRows);
    const { rows } = traitsOf(node);
    if (rows === "elementwise") {
      const behind = (value: string) => this.#dims(value).length - (this.#axisOf(value) as number);
      return given.every((value) => !hasRows(value) || behind(value) === behind(y));
    }
    if (VIEWS.has(opType)) return hasRows(x);
    if (ROUNDINGS.has(opType)) {
      const byRow = scale !== undefined && hasRows(scale);
      return hasRows(x) && (!byRow || intAttribute(node, "axis", 1) === axis);
    }
    if (PRODUCTS.has(opType)) {
      return onlyFirst && intAttribute(node, "transA", 0) === 0 &&
        intAttribute(node, "transBatchA", 0) === 0 &&
        (this.#axisOf(x) as number) < this.#dims(x).length - 1;
    }
    if (rows === "mixed") return false;
    const found = rows(node, {
      lead: axis + 1,
      leadOf: (value) => hasRows(value) ? this.#axisOf(value) as number + 1 : undefined,
      dims: (value) => asDims(this.#dims(value)),
      constant: (value) => this.#graph.initializers.get(value),
    });
    return found === "all" || found === "first" && onlyFirst;
  }

  /** Whether a node that reads rows makes a sum over all of them. */
  #sumsRows(node: Node): boolean {
    const { opType, inputs } = node;
    const [a, b, ...others] = inputs;
    if (opType === "ReduceSum") {
      const axes = b === undefined ? undefined : this.#graph.initializers.get(b);
      const summed = axes && entriesOf(axes);
      return summed?.length === 1 && summed[0] === this.#axisOf(a);
    }
    if (opType !== "Gemm" && opType !== "FusedMatMul") return false;
    const isMatrix = (value: string) =>
      this.#contents.get(value) === "rows" && this.#axisOf(value) === this.#dims(value).length - 2;
    return isMatrix(a) && isMatrix(b) && !others.some((other) => other !== "") &&
      intAttribute(node, "transA", 0) === 1 && intAttribute(node, "transB", 0) === 0;
  }

  /** The axes of inputs and outputs with rows; `undefined` where an output is neither rows nor a total. */
  #found(): RowAxes | undefined {
    const axes = new Map<string, number>();
    const { inputs, outputs } = this.#graph;
    for (const { name } of outputs) {
      if (!["rows", "total"].includes(this.#contents.get(name)!)) return undefined;
    }
    for (const { name } of [...inputs, ...outputs]) {
      const axis = this.#axisOf(name);
      if (axis !== undefined) axes.set(name, axis as number);
    }
    return axes.size > 0 ? axes : undefined;
  }

  #dims(value: string): readonly Extent[] {
    return this.#shapes.get(value)!;
  }

  /** The axis of a value's rows, before which it has only axes of 1; `undefined` where it has none. */
  #axisOf(value: string): number | "unknown" | undefined {
    const dims = this.#shapes.get(value);
    if (dims === undefined) return "unknown";
    const axis = dims.findIndex((extent) => typeof extent !== "number");
    if (axis < 0) return undefined;
    const isLeading = dims.slice(0, axis).every((extent) => extent === 1) &&
      dims.slice(axis + 1).every((extent) => typeof extent === "number");
    return isLeading && this.#isNumberOfRows(dims[axis]) ? axis : "unknown";
  }

  /** Whether an extent is a number, or that many times the rows. */
  #isNumberOfRows(extent: Extent): boolean {
    if (typeof extent === "number") return true;
    const [{ key, factor }] = this.#rows.terms;
    const like = extent.terms.find((term) => term.key === key);
    const count = (like?.factor ?? 0) / factor;
    return Number.isInteger(count) && count > 0 && times(this.#rows, count) === extent;
  }
}
