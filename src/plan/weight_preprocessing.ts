/** Preprocessing of frozen weights: calls that compute tensors from them alone, once, before the first step, for all plans of a model. */
import type { GraphBuilder } from "../graph/builder.ts";
import { producersOf } from "../graph/facts.ts";
import { constantValues } from "../graph/passes/constants.ts";
import type { Graph, Node } from "../graph/types.ts";
import { renamed, type Renaming, renaming, signature } from "./alike.ts";
import { builderOver, callOf, declare, fedConstants, type PlannedCall } from "./call.ts";
import type { PassControl } from "./planning_pass.ts";

/** A call that computes tensors from frozen weights alone. */
export type PreprocessingCall = PlannedCall;

/** A lowered graph some of whose values are computed once, before the first step. */
export interface PreprocessedGraph {
  readonly graph: Graph;
  readonly preprocessing: readonly PreprocessingCall[];
  /** Results of these calls; the graph reads them like initializers. */
  readonly preprocessed: ReadonlySet<string>;
  /** Whether products in 8 bits read weights as stored in the file; absent: none do. */
  readonly readsStored?: boolean;
}

/** Plans the preprocessing of one lowered graph; calls of equal weights differ only in names and are planned once. */
export class WeightPreprocessing {
  /** Values that depend only on initializers, none of which is trained. */
  readonly frozen: ReadonlySet<string>;
  /** The node that produces each computed value. */
  readonly producers: ReadonlyMap<string, Node>;
  readonly #lowered: Graph;
  readonly #fed: ReadonlySet<string>;
  readonly #passControl: PassControl | undefined;
  readonly #made = new Map<string, PreprocessingCall>();
  /** Calls by what they compute. */
  readonly #alike = new Map<string, { rename: Renaming; call: PreprocessingCall }>();

  /** @param trainable initializers that training changes */
  constructor(lowered: Graph, trainable: ReadonlySet<string>, passControl?: PassControl) {
    this.#passControl = passControl;
    const { nodes, initializers } = lowered;
    this.#lowered = lowered;
    this.#fed = fedConstants(lowered, trainable);
    this.producers = producersOf(nodes);
    this.frozen = constantValues({
      nodes,
      initializers: new Map([...initializers].filter(([name]) => !trainable.has(name))),
    });
  }

  get calls(): readonly PreprocessingCall[] {
    return [...this.#made.values()];
  }

  has(value: string): boolean {
    return this.#made.has(value);
  }

  /**
   * Plans the tensors to compute from a frozen value.
   *
   * @param names of these tensors
   * @param how distinguishes calls that compute different tensors from equal values
   * @param emit computes them from the value, in the order of `names`
   */
  add(
    value: string,
    { label, names, how = "" }: {
      readonly label: string;
      readonly names: readonly string[];
      readonly how?: string;
    },
    emit: (b: GraphBuilder, value: string) => readonly string[],
  ): void {
    const nodes = this.#preparing(value);
    const context = { lowered: this.#lowered, fed: this.#fed, constants: this.frozen };
    const read = signature(context, nodes, [value]);
    const key = `${read.text}\n${how}`;
    const all = [...read.names, ...names];
    const alike = this.#alike.get(key);
    if (alike !== undefined) {
      this.#made.set(value, renamed(alike.call, alike.rename(all), label));
      return;
    }
    const b = builderOver({ lowered: this.#lowered, fed: this.#fed }, nodes);
    const made = emit(b, declare(b, this.#lowered, value, this.#fed));
    const call = callOf(b, label, new Map(made.map((result, i) => [result, names[i]])), {
      passControl: this.#passControl,
    });
    this.#alike.set(key, { rename: renaming(all), call });
    this.#made.set(value, call);
  }

  /** The nodes that compute a frozen value from initializers, in order. */
  #preparing(value: string): Node[] {
    const found = new Set<Node>();
    const visit = (name: string) => {
      const node = this.producers.get(name);
      if (node === undefined || found.has(node)) return;
      for (const input of node.inputs) visit(input);
      found.add(node);
    };
    visit(value);
    return [...found];
  }
}
