/** Pattern matching in a lowered graph: from a value to the nodes that produced it. */
import { dimsIn, producersOf } from "../graph/facts.ts";
import { elementCount, toNumbers } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";

/** A graph seen from its values: how each was produced. */
export class GraphView {
  readonly #producers: ReadonlyMap<string, Node>;

  constructor(readonly graph: Graph) {
    this.#producers = producersOf(graph.nodes);
  }

  /** The inputs of the node that produces a value, if it is of this operator. */
  inputsOf(value: string, opType: string): readonly string[] | undefined {
    const node = this.#producers.get(value);
    return node?.opType === opType && node.domain === "" ? node.inputs : undefined;
  }

  /** Value of a constant with one element. */
  scalar(value: string): number | undefined {
    const constant = this.graph.initializers.get(value);
    if (constant === undefined || elementCount(constant.dims) !== 1) return undefined;
    return Number(toNumbers(constant)[0]);
  }

  dims(value: string): readonly number[] {
    return dimsIn(this.graph, value);
  }

  /** Whether a value is a float32 vector along the last axis of `like`, whatever its contents. */
  isVector(value: string, like: string): boolean {
    const constant = this.graph.initializers.get(value);
    return constant?.dtype === "float32" && constant.dims.length === 1 &&
      constant.dims[0] === this.dims(like).at(-1);
  }

  /** The operands of a commutative node, in both orders. */
  bothWays(value: string, opType: string): readonly (readonly [string, string])[] {
    const inputs = this.inputsOf(value, opType);
    return inputs === undefined ? [] : [[inputs[0], inputs[1]], [inputs[1], inputs[0]]];
  }

  /** The factors of a product of three, in any order of multiplication. */
  *threeFactors(value: string): Generator<readonly [string, string, string]> {
    for (const [product, third] of this.bothWays(value, "Mul")) {
      for (const [first, second] of this.bothWays(product, "Mul")) {
        yield [first, second, third];
        yield [third, first, second];
        yield [first, third, second];
      }
    }
  }

  /** x, where a value is the mean of x over the last axis, kept as 1. */
  lastAxisMean(value: string): string | undefined {
    const inputs = this.inputsOf(value, "ReduceMean");
    if (inputs === undefined) return undefined;
    const axis = this.scalar(inputs[1] ?? "");
    const dims = this.dims(inputs[0]);
    const kept = this.dims(value).length === dims.length && this.dims(value).at(-1) === 1;
    return kept && (axis === -1 || axis === dims.length - 1) ? inputs[0] : undefined;
  }

  /** x, where a value is x². */
  square(value: string): string | undefined {
    const power = this.inputsOf(value, "Pow");
    if (power !== undefined) return this.scalar(power[1]) === 2 ? power[0] : undefined;
    const product = this.inputsOf(value, "Mul");
    return product !== undefined && product[0] === product[1] ? product[0] : undefined;
  }

  /** x and ε, where a value is √(mean(x²) + ε) over the last axis. */
  rootMeanSquare(value: string): { readonly x: string; readonly epsilon: number } | undefined {
    const root = this.inputsOf(value, "Sqrt");
    if (root === undefined) return undefined;
    for (const [mean, constant] of this.bothWays(root[0], "Add")) {
      const epsilon = this.scalar(constant);
      const squared = this.lastAxisMean(mean);
      const x = squared === undefined ? undefined : this.square(squared);
      if (epsilon !== undefined && x !== undefined) return { x, epsilon };
    }
    return undefined;
  }
}
