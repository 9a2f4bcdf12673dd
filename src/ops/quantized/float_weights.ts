/** DequantizeLinear nodes for quantised weights, one per weight however often it is read. */
import { int } from "../../graph/attributes.ts";
import { freeName, valueNames } from "../../graph/facts.ts";
import { elementCount, type Tensor } from "../../graph/tensor.ts";
import type { Graph, Node } from "../../graph/types.ts";
import { columnParameters } from "./column_parameters.ts";

export class FloatWeights {
  /** Scales and zero points in the shapes that the nodes need, to be added as initializers. */
  readonly parameters = new Map<string, Tensor>();
  readonly #constants: ReadonlyMap<string, Tensor>;
  readonly #names: Set<string>;
  readonly #made = new Map<string, string>();

  constructor(graph: Graph, constants: ReadonlyMap<string, Tensor>) {
    this.#constants = constants;
    this.#names = valueNames(graph);
  }

  /** A value name that the graph does not have yet. */
  fresh(hint: string): string {
    const name = freeName(this.#names, hint);
    this.#names.add(name);
    return name;
  }

  /**
   * The name of a weight's float form, and the node that makes it unless an earlier call gave it.
   *
   * @param weight name of the integers, [..., K, N]
   * @param scale name of one scale, or of one per column
   * @param zeroPoint name of one zero point, or of one per column; `""` for none
   */
  dequantized(
    weight: string,
    scale: string,
    zeroPoint: string,
  ): readonly [nodes: readonly Node[], name: string] {
    const key = JSON.stringify([weight, scale, zeroPoint]);
    const made = this.#made.get(key);
    if (made !== undefined) return [[], made];
    const name = this.fresh(`${weight}.dequantized`);
    this.#made.set(key, name);
    return [[this.#node(name, weight, scale, zeroPoint)], name];
  }

  #node(output: string, weight: string, scale: string, zeroPoint: string): Node {
    const dims = this.#constant(weight).dims;
    const parameters = [scale, zeroPoint].filter((name) => name !== "");
    const perColumn = parameters.some((name) => elementCount(this.#constant(name).dims) > 1);
    const columns = perColumn ? dims.at(-1)! : undefined;
    return {
      name: output,
      opType: "DequantizeLinear",
      domain: "",
      inputs: [weight, ...parameters.map((name) => this.#parameter(name, columns))],
      outputs: [output],
      attributes: perColumn ? { axis: int(dims.length - 1) } : {},
    };
  }

  #parameter(name: string, columns: number | undefined): string {
    const value = this.#constant(name);
    const fitted = columnParameters(value, columns);
    if (fitted === value) return name;
    const own = this.fresh(`${name}.columns`);
    this.parameters.set(own, fitted);
    return own;
  }

  #constant(name: string): Tensor {
    return this.#constants.get(name)!;
  }
}
