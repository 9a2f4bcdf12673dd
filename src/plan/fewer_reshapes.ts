/**
 * Removes Reshapes from a piece of graph. Lowering and derivatives write each operator over the shape that
 * suits it best, so that a third of a step's nodes would only turn one shape into another. They move no
 * bytes, but every node takes time to dispatch and memory in a session.
 *
 * A view of a view is a view of the first value; a view in a value's own shape is that value; elementwise
 * arithmetic over views of one shape is a view of the arithmetic over the viewed values.
 */
import { neededNodes } from "../graph/passes/prune.ts";
import { entriesOf } from "../graph/extents.ts";
import type { Extent } from "../graph/size.ts";
import { sameDims } from "../ops/broadcast.ts";
import { isElementwise } from "../ops/registry.ts";
import type { Node } from "../graph/types.ts";
import type { Piece } from "./piece.ts";

/** A Reshape's result: the elements of another value, `base`, in a different shape. */
interface View {
  readonly base: string;
  /** Of `base`. */
  readonly dims: readonly Extent[];
  /** Name of the constant that holds the view's own shape. */
  readonly shape: string;
}

/**
 * @param outputs values that keep their names and shapes
 * @returns nodes that compute the same outputs, and only those that these need
 */
export function withFewerReshapes(piece: Piece, outputs: ReadonlySet<string>): Piece {
  const pass = new Pass(piece, outputs);
  const nodes = neededNodes(piece.nodes.flatMap((node) => pass.replaced(node)), outputs);
  return { ...piece, nodes, dims: (name) => pass.dims(name) };
}

class Pass {
  readonly #given: Piece;
  readonly #outputs: ReadonlySet<string>;
  readonly #views = new Map<string, View>();
  /** Values in all their shapes: names by `<base> as <dims>`. */
  readonly #shown = new Map<string, string>();
  /** Views that have the value's own shape. */
  readonly #same = new Map<string, string>();
  /** Shapes of values added here. */
  readonly #added = new Map<string, readonly Extent[]>();

  constructor(given: Piece, outputs: ReadonlySet<string>) {
    this.#given = given;
    this.#outputs = outputs;
  }

  replaced(given: Node): readonly Node[] {
    const inputs = given.inputs.map((input) => this.#same.get(input) ?? input);
    const node = { ...given, inputs };
    if (node.domain !== "") return [node];
    if (node.opType === "Reshape") return [this.#reshaped(node)];
    return isElementwise(node) ? this.#below(node) ?? [node] : [node];
  }

  #reshaped(node: Node): Node {
    const [x, shape] = node.inputs;
    const [y] = node.outputs;
    const constant = this.#given.constants.get(shape);
    const said = constant && entriesOf(constant);
    // A shape that leaves a size to be inferred from its operand means another shape for another operand.
    if (said === undefined || !sameDims(said, this.dims(y))) return node;
    const base = this.#views.get(x)?.base ?? x;
    const dims = this.#views.get(x)?.dims ?? this.dims(x);
    this.#views.set(y, { base, dims, shape });
    this.#shown.set(`${base} as ${this.dims(y)}`, y);
    if (!this.#outputs.has(y) && sameDims(dims, this.dims(y))) this.#same.set(y, base);
    return { ...node, inputs: [base, shape] };
  }

  /**
   * The arithmetic over the values that its operands are views of, and the view of its result, where all
   * views are alike.
   */
  #below(node: Node): readonly Node[] | undefined {
    const [y] = node.outputs;
    const dims = this.dims(y);
    const views = node.inputs.flatMap((input) => this.#views.get(input) ?? []);
    // With one number for all elements, the runtime would not find the product that it could be folded into
    // as a factor.
    const alike = views.length === node.inputs.length &&
      node.inputs.every((input) => sameDims(this.dims(input), dims));
    if (!alike) return undefined;
    const inShape = (shape: readonly Extent[]) =>
      new Map(views.map((view, i) => [node.inputs[i], this.#in(view, shape)]));
    const first = views.find(({ dims: shape }) =>
      !sameDims(shape, dims) && [...inShape(shape).values()].every((name) => name !== undefined)
    );
    if (first === undefined) return undefined;
    const bases = inShape(first.dims);
    const base = `${y} as ${first.dims}`;
    this.#added.set(base, first.dims);
    this.#views.set(y, { base, dims: first.dims, shape: first.shape });
    return [
      {
        ...node,
        name: base,
        inputs: node.inputs.map((input) => bases.get(input)!),
        outputs: [base],
      },
      {
        name: y,
        opType: "Reshape",
        domain: "",
        inputs: [base, first.shape],
        outputs: [y],
        attributes: {},
      },
    ];
  }

  /** The value that has a view's elements in another shape, if there is one. */
  #in({ base, dims }: View, shape: readonly Extent[]): string | undefined {
    return sameDims(dims, shape) ? base : this.#shown.get(`${base} as ${shape}`);
  }

  /** The shape of a value, including those added here. */
  dims(value: string): readonly Extent[] {
    return this.#added.get(value) ?? this.#given.dims(value);
  }
}
