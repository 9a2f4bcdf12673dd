/** Tensors that plans make of weights once, before their first step, and share. */
import type { Tensor } from "../graph/tensor.ts";
import type { PlannedCall } from "../plan/call.ts";
import type { PreprocessingCall } from "../plan/weight_preprocessing.ts";
import type { DeviceTensor, Executable } from "../runtime/runner.ts";
import { forgetMapped } from "../system/mapped_file.ts";
import type { CompiledPlan } from "./compiled_plan.ts";

/** Compiles a call; the caller disposes of the result. */
export type Compile = (call: PlannedCall) => Promise<Executable>;

export class PreprocessedTensors implements Disposable {
  readonly #compile: Compile;
  /** By the computation and what it reads: names of weights may differ from plan to plan. */
  readonly #made = new Map<string, DeviceTensor>();
  /** By a plan's preprocessing, which is the same for all batches that the plan serves. */
  #byCalls = new WeakMap<readonly PreprocessingCall[], ReadonlyMap<string, DeviceTensor>>();
  readonly #sources = new Sources();

  constructor(compile: Compile) {
    this.#compile = compile;
  }

  /**
   * The results of a plan's preprocessing, by name; computed unless an earlier plan has done so. The weights
   * that are read for it leave memory: the plan's step reads what was made of them instead.
   */
  async of(compiled: CompiledPlan): Promise<ReadonlyMap<string, DeviceTensor>> {
    const { preprocessing } = compiled.plan;
    const known = this.#byCalls.get(preprocessing);
    if (known !== undefined) return known;
    const preprocessed = await this.#preprocess(compiled);
    this.#byCalls.set(preprocessing, preprocessed);
    return preprocessed;
  }

  /** Frees all of them; {@linkcode of} makes them again. */
  [Symbol.dispose](): void {
    for (const tensor of this.#made.values()) tensor[Symbol.dispose]();
    this.#made.clear();
    this.#byCalls = new WeakMap();
  }

  async #preprocess({ plan, constants }: CompiledPlan): Promise<Map<string, DeviceTensor>> {
    const preprocessed = new Map<string, DeviceTensor>();
    using sessions = new DisposableStack();
    const compiled = new Map<string, Executable>();
    for (const call of plan.preprocessing) {
      const sources = [...call.feeds.values()].map((name) =>
        this.#sources.identity(plan.constants.get(name)!)
      );
      const key = (canonical: string) => `${canonical} of ${sources}\n${call.key}`;
      if (![...call.fetches.keys()].every((canonical) => this.#made.has(key(canonical)))) {
        let session = compiled.get(call.key);
        if (session === undefined) {
          compiled.set(call.key, session = sessions.use(await this.#compile(call)));
        }
        const feeds = Object.fromEntries(
          [...call.feeds].map(([canonical, name]) => [canonical, constants.get(name)!]),
        );
        const results = await session.run(feeds);
        for (const canonical of call.fetches.keys()) {
          this.#made.set(key(canonical), results[canonical]);
        }
        // One after the other, so that the weights and what is made of them are never all in memory at once.
        for (const name of call.feeds.values()) {
          forgetMapped(plan.constants.get(name)!.bytes);
        }
      }
      for (const [canonical, name] of call.fetches) {
        preprocessed.set(name, this.#made.get(key(canonical))!);
      }
    }
    return preprocessed;
  }
}

/**
 * Tells tensors apart by their contents: each lowering makes some constants again, and results computed from
 * equal ones are equal. Weights differ in their first bytes, so this reads few.
 */
class Sources {
  readonly #distinct = new Map<string, Tensor[]>();
  readonly #known = new WeakMap<ArrayBufferLike, Map<string, string>>();

  identity(tensor: Tensor): string {
    const { buffer, byteOffset } = tensor.bytes;
    const type = `${tensor.dtype}[${tensor.dims}]`;
    let identities = this.#known.get(buffer);
    if (identities === undefined) this.#known.set(buffer, identities = new Map());
    const at = `${byteOffset} ${type}`;
    let found = identities.get(at);
    if (found === undefined) identities.set(at, found = `${type} ${this.#number(tensor, type)}`);
    return found;
  }

  #number(tensor: Tensor, type: string): number {
    let alike = this.#distinct.get(type);
    if (alike === undefined) this.#distinct.set(type, alike = []);
    const at = alike.findIndex(({ bytes }) => bytes.every((byte, i) => byte === tensor.bytes[i]));
    return at < 0 ? alike.push(tensor) - 1 : at;
  }
}
