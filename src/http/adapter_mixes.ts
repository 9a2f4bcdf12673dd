/** Sums of adapters, each times its scale: for one request, or for all that name the base. */
import type { AdapterMatrices } from "../serve/adapter_inputs.ts";
import type { InferenceModel } from "../tasks/inference_model.ts";
import { adapterNotFound } from "./adapter_errors.ts";
import { ApiError } from "./api_error.ts";
import type { AdapterEntry } from "./named_adapter.ts";

/** A part of a mix. */
export interface AdapterScale {
  readonly id: number;
  readonly scale: number;
}

/** Mixes that are kept, so that requests with the same one share runs. */
const MOST_MIXES = 16;

export class AdapterMixes {
  readonly #model: InferenceModel;
  readonly #find: (id: number) => AdapterEntry | undefined;
  readonly #made = new Map<string, AdapterMatrices>();
  /** What requests for the base get, where they do not say. */
  #usual: readonly AdapterScale[] = [];

  /** @param find an adapter by its number */
  constructor(model: InferenceModel, find: (id: number) => AdapterEntry | undefined) {
    this.#model = model;
    this.#find = find;
  }

  /** Scale of an adapter in what requests for the base get. */
  usualScale(id: number): number {
    return this.#usual.find((part) => part.id === id)?.scale ?? 0;
  }

  /** @throws {ApiError} as {@linkcode mix} */
  setUsual(parts: readonly AdapterScale[]): void {
    for (const { id, scale } of parts) {
      if (scale !== 0) this.#matrices(id);
      else this.#known(id);
    }
    this.#usual = parts.filter(({ scale }) => scale !== 0);
  }

  /**
   * The matrices of a mix.
   *
   * @param parts absent: the usual ones
   * @returns `undefined` for the base
   * @throws {ApiError} 404 for an id that is not known, 400 for an adapter that is only merged
   */
  mix(parts: readonly AdapterScale[] = this.#usual): AdapterMatrices | undefined {
    const used = parts.filter(({ scale }) => scale !== 0);
    if (used.length === 0) return undefined;
    const matrices = used.map(({ id }) => this.#matrices(id));
    if (used.length === 1 && used[0].scale === 1) return matrices[0];
    const key = JSON.stringify(used.map(({ id, scale }) => [id, scale]));
    const mixed = this.#made.get(key) ??
      this.#model.mixAdapters(used.map(({ scale }, i) => ({ adapter: matrices[i], scale })));
    this.#made.delete(key);
    this.#made.set(key, mixed);
    if (this.#made.size > MOST_MIXES) this.#made.delete(this.#made.keys().next().value!);
    return mixed;
  }

  /** Forgets mixes: an adapter has changed. */
  clear(): void {
    this.#made.clear();
  }

  /** Forgets an adapter. */
  forget(id: number): void {
    this.#usual = this.#usual.filter((part) => part.id !== id);
    this.clear();
  }

  #known(id: number): AdapterEntry {
    const entry = this.#find(id);
    if (entry === undefined) throw adapterNotFound(`number ${id}`);
    return entry;
  }

  #matrices(id: number): AdapterMatrices {
    const entry = this.#known(id);
    const matrices = entry.current?.source.matrices;
    if (matrices !== undefined) return matrices;
    throw new ApiError(400, `${entry.name} can only be merged, and so not mixed`, {
      code: "invalid_lora_adapter",
    });
  }
}
