/** Names by use, so that pieces of a graph that differ only in names become equal. */
import { isSized, sizedName } from "../graph/extents.ts";
import type { Tensor } from "../graph/tensor.ts";

/**
 * Names values in the order in which they are asked for: `i0` is fed, `c0` embedded, `v0` computed. A
 * constant that follows from a batch's sizes is fed.
 */
export class CanonicalNames {
  /** Canonical name → value, for values that are fed. */
  readonly feeds = new Map<string, string>();
  /** Embedded constants, by canonical name. */
  readonly initializers = new Map<string, Tensor>();
  /** Constants that follow from a batch's sizes, by canonical name. */
  readonly sized = new Map<string, Tensor>();
  readonly #inputs: ReadonlySet<string>;
  readonly #constants: ReadonlyMap<string, Tensor>;
  readonly #names = new Map<string, string>();
  /** Canonical names of {@linkcode sized} by contents. */
  readonly #sizedNames = new Map<string, string>();
  #computed = 0;

  /**
   * @param inputs values that are fed
   * @param constants values that are embedded where a node reads them
   */
  constructor(inputs: ReadonlySet<string>, constants: ReadonlyMap<string, Tensor>) {
    this.#inputs = inputs;
    this.#constants = constants;
  }

  /** Names a value that a node computes; "" is an omitted output. */
  computed(value: string): string {
    if (value === "") return "";
    return this.#names.get(value) ?? this.#name(value, `v${this.#computed++}`);
  }

  /**
   * The canonical name of a value that is read; "" is an omitted input.
   *
   * @throws {ReferenceError} where a value is neither computed earlier nor given
   */
  read(value: string): string {
    if (value === "") return "";
    const found = this.#names.get(value);
    if (found !== undefined) return found;
    if (this.#inputs.has(value)) return this.#name(value, this.#fed(value));
    const constant = this.#constants.get(value);
    if (constant === undefined) throw new ReferenceError(`No value is named "${value}"`);
    if (isSized(constant)) return this.#name(value, this.#sized(constant));
    const name = `c${this.initializers.size}`;
    this.initializers.set(name, constant);
    return this.#name(value, name);
  }

  #fed(value: string): string {
    const name = `i${this.feeds.size}`;
    this.feeds.set(name, value);
    return name;
  }

  #sized(constant: Tensor): string {
    const held = sizedName(constant);
    let name = this.#sizedNames.get(held);
    if (name === undefined) {
      this.#sizedNames.set(held, name = this.#fed(held));
      this.sized.set(name, constant);
    }
    return name;
  }

  #name(value: string, name: string): string {
    this.#names.set(value, name);
    return name;
  }
}

/** Whether a canonical name belongs to a value that a node computes. */
export function isComputed(name: string): boolean {
  return name.startsWith("v");
}
