/**
 * Multiplies rows by their scales as late as possible. A product of rounded rows ends with a pass over its
 * whole result that multiplies each row by a number of its own. Where rows are only rounded to 8 bits again,
 * with nothing but linear operators between, their codes are the same without that pass: the rows' new scales
 * are multiplied instead, one number per row.
 */
import { producersOf } from "../graph/facts.ts";
import { over, productOf } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { sameDims } from "../ops/broadcast.ts";
import { isRoundedProduct, type Piece } from "./piece.ts";

/**
 * @param piece nodes in topological order, all of which its outputs need
 * @param outputs values that keep their names
 * @returns nodes that compute the same; some may no longer be needed
 */
export function withRowScalesDeferred(piece: Piece, outputs: ReadonlySet<string>): Piece {
  let now = piece;
  for (const { outputs: [scaled] } of piece.nodes.filter(isScaling(piece))) {
    const scaling = now.nodes.find((node) => node.outputs[0] === scaled)!;
    now = new Deferral(now, outputs, scaling).result ?? now;
  }
  return now;
}

/** Finds the nodes that multiply rows of a product of rounded rows, [rows, columns], by [rows, 1]. */
function isScaling({ nodes, dims }: Piece): (node: Node) => boolean {
  const products = new Set(nodes.filter(isRoundedProduct).map(({ outputs }) => outputs[0]));
  return ({ opType, inputs: [product, factor] }) =>
    opType === "Mul" && products.has(product) && dims(product).length === 2 &&
    sameDims(dims(factor), [dims(product)[0], 1]);
}

/** One scaled value and everything computed from it until it is rounded. */
class Deferral {
  /** `undefined` where the rows' scales are needed at once. */
  readonly result: Piece | undefined;
  readonly #nodes: readonly Node[];
  readonly #dims: Piece["dims"];
  readonly #outputs: ReadonlySet<string>;
  readonly #producers: ReadonlyMap<string, Node>;
  /** Values that lack the factor. */
  readonly #lacking = new Set<string>();
  /** Nodes of the rows' largest absolute values, and those on the way to them that lack the factor. */
  readonly #inside = new Set<Node>();
  /** Scales computed from them. */
  readonly #scales = new Map<string, Node>();

  constructor(piece: Piece, outputs: ReadonlySet<string>, scaling: Node) {
    const { nodes, dims } = piece;
    this.#nodes = nodes;
    this.#dims = dims;
    this.#outputs = outputs;
    this.#producers = producersOf(nodes);
    const factor = this.#numbersOf(scaling.inputs[1]);
    if (factor === undefined || outputs.has(scaling.outputs[0])) return;
    const [scaled] = scaling.outputs;
    this.#lacking.add(scaled);
    const [rows, columns] = dims(scaled);
    const isLinear = nodes.every((node) =>
      node === scaling || !node.inputs.some((input) => this.#lacking.has(input)) ||
      this.#passes(node, rows, columns)
    );
    if (!isLinear || this.#scales.size === 0 || !this.#scalesAreWhole()) return;
    const bare = new Set([...this.#scales.keys()].map(bareName));
    this.result = {
      ...piece,
      nodes: this.#rewritten(scaling, factor),
      dims: (name) => bare.has(name) ? [rows] : dims(name),
    };
  }

  /** The numbers, [rows], of which the factor, [rows, 1], is a view. */
  #numbersOf(factor: string): string | undefined {
    const view = this.#producers.get(factor);
    const [rows] = this.#dims(factor);
    return view?.opType === "Reshape" && sameDims(this.#dims(view.inputs[0]), [rows])
      ? view.inputs[0]
      : undefined;
  }

  /** Whether a node that reads a value without the factor produces another one, or rounds it. */
  #passes(node: Node, rows: Extent, columns: Extent): boolean {
    const { opType, domain, inputs, outputs } = node;
    const lacking = inputs.map((input) => this.#lacking.has(input));
    const one = lacking.filter(Boolean).length === 1;
    if (domain !== "" || outputs.some((output) => this.#outputs.has(output))) {
      return opType === "QuantizeLinear" && this.#rounds(node, rows);
    }
    switch (opType) {
      case "Mul":
        return one && this.#sameSize(node) && this.#lacks(node);
      case "Add":
      case "Sub":
        return !one && this.#lacks(node);
      case "Reshape":
        return this.#lacks(node);
      case "MatMul": {
        // Every row of the result comes from a single row.
        const [width] = this.#dims(inputs[0]).slice(-1);
        return lacking[0] && one && this.#dims(inputs[1]).length === 2 &&
          over(columns, width) !== undefined &&
          this.#lacks(node);
      }
      case "ReduceMax":
      case "ReduceMin":
        this.#inside.add(node);
        return true;
      case "QuantizeLinear":
        return this.#rounds(node, rows);
      default:
        return false;
    }
  }

  #lacks({ outputs }: Node): boolean {
    this.#lacking.add(outputs[0]);
    return true;
  }

  #sameSize({ inputs, outputs }: Node): boolean {
    const size = (name: string) => productOf(this.#dims(name));
    return inputs.some((input) => this.#lacking.has(input) && size(input) === size(outputs[0]));
  }

  /** Whether a node rounds rows by their own scale: Mul(Max(max, −min, …), …). */
  #rounds({ inputs: [x, scale] }: Node, rows: Extent): boolean {
    const times = this.#producers.get(scale);
    const largest = times && this.#producers.get(times.inputs[0]);
    if (!sameDims(this.#dims(scale), [rows]) || times?.opType !== "Mul") return false;
    if (this.#dims(times.inputs[1]).length !== 0 || largest?.opType !== "Max") return false;
    const above = this.#producers.get(largest.inputs[0]);
    const turned = this.#producers.get(largest.inputs[1]);
    const below = turned && this.#producers.get(turned.inputs[0]);
    const isOf = (node: Node | undefined, opType: string) =>
      node?.opType === opType && node.inputs[0] === x;
    if (!isOf(above, "ReduceMax") || !isOf(below, "ReduceMin") || turned?.opType !== "Neg") {
      return false;
    }
    for (const node of [above!, below!, turned, largest]) this.#inside.add(node);
    this.#scales.set(scale, times);
    return true;
  }

  /** Whether nothing else reads the intermediate values of the scales. */
  #scalesAreWhole(): boolean {
    const making = new Set([...this.#inside, ...this.#scales.values()]);
    const made = new Set([...this.#inside].flatMap(({ outputs }) => outputs));
    return this.#nodes.every((node) =>
      making.has(node) || !node.inputs.some((input) => made.has(input))
    ) && ![...made].some((name) => this.#outputs.has(name));
  }

  #rewritten(scaling: Node, factor: string): readonly Node[] {
    const [scaled] = scaling.outputs;
    const [product] = scaling.inputs;
    return this.#nodes.flatMap((node) => {
      if (node === scaling) return [];
      const [output] = node.outputs;
      if (this.#scales.get(output) === node) {
        const made = { ...node, outputs: [bareName(output)] };
        const inputs = [bareName(output), factor];
        return [made, { ...node, name: output, inputs, attributes: {} }];
      }
      const rounds = node.opType === "QuantizeLinear" && this.#scales.has(node.inputs[1]) &&
        (this.#lacking.has(node.inputs[0]));
      const inputs = node.inputs.map((input, i) => {
        if (input === scaled) return product;
        return rounds && i === 1 ? bareName(input) : input;
      });
      return [{ ...node, inputs }];
    });
  }
}

/** Name of the scales of rows that lack the factor. */
const bareName = (scale: string) => `${scale} of rows`;
