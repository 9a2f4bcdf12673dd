/** Plans of the batch shapes in use, with their compiled sessions and bound constants. */
import type { CompiledPlan } from "./compiled_plan.ts";
import type { PlannedCall } from "../plan/call.ts";
import type { TrainingPlan } from "../plan/plan.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import { CallSessions, type Threads } from "./call_sessions.ts";
import { PreprocessedTensors } from "./preprocessed_tensors.ts";
import { TensorCache } from "./tensor_cache.ts";

/** Plans that are kept; later ones replace the least recently used. */
export const PLANS_KEPT = 48;

/** Keeps what the most recently used plans need; sessions and tensors are shared between plans. */
export class PlanCache implements Disposable {
  readonly #runner: Runner;
  readonly #limit: number;
  /** Least recently used first. */
  readonly #plans = new Map<string, CompiledPlan>();
  readonly #sessions: CallSessions;
  readonly #tensors = new TensorCache();
  readonly #preprocessed = new PreprocessedTensors((call) => this.#sessions.compile(call));

  constructor(runner: Runner, limit = PLANS_KEPT) {
    this.#runner = runner;
    this.#sessions = new CallSessions(runner);
    this.#limit = limit;
  }

  /** Number of compiled sessions held now. */
  get sessionCount(): number {
    return this.#sessions.count;
  }

  /** The plan of a shape, made if it is not there yet. */
  get(shape: string, make: () => TrainingPlan): CompiledPlan {
    let found = this.#plans.get(shape);
    if (found === undefined) {
      const plan = make();
      const constants = new Map(
        [...plan.constants].map(([name, value]) => [
          name,
          this.#tensors.get(value, () => this.#runner.wrap(value)),
        ]),
      );
      found = { plan, constants };
    }
    this.#plans.delete(shape);
    this.#plans.set(shape, found);
    if (this.#plans.size > this.#limit) {
      const [oldest] = this.#plans.values();
      this.keep((plan) => plan !== oldest.plan);
    }
    return found;
  }

  /** Drops all other plans, and what only they use. */
  keep(stays: (plan: TrainingPlan) => boolean): void {
    for (const [shape, { plan }] of this.#plans) {
      if (!stays(plan)) this.#plans.delete(shape);
    }
    const plans = [...this.#plans.values()];
    const keys = new Set(plans.flatMap(({ plan }) => keysOf(plan)));
    this.#sessions.retain(keys);
    this.#tensors.retain(new Set(plans.flatMap(({ constants }) => [...constants.values()])));
  }

  /** Tensors that a plan's calls read besides its constants. */
  preprocessed(compiled: CompiledPlan): Promise<ReadonlyMap<string, DeviceTensor>> {
    return this.#preprocessed.of(compiled);
  }

  /** Frees what plans have made of weights; a plan that is used again makes it again. */
  releasePreprocessed(): void {
    this.#preprocessed[Symbol.dispose]();
  }

  /** The compiled session of a call. */
  session(call: PlannedCall, threads: Threads): Promise<Executable> {
    return this.#sessions.of(call, threads);
  }

  [Symbol.dispose](): void {
    this.#plans.clear();
    this.#preprocessed[Symbol.dispose]();
    this.#tensors.retain(new Set());
    this.#sessions[Symbol.dispose]();
  }
}

/** Keys of all calls of a plan except those of its preprocessing. */
function keysOf({ training, evaluation, logits }: TrainingPlan): readonly string[] {
  return [training, evaluation, logits].flatMap(({ calls }) => calls.map(({ key }) => key));
}
