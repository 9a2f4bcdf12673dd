/** An optimiser whose arithmetic runs in the runtime, beside the parameters. */
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import type { Optimizer, OptimizerState } from "./optimizer.ts";
import { GRADIENT_SCALE, squaredNormModel, updateModel, valueNames } from "./optimizer_graphs.ts";
import type { Parameter } from "./step.ts";
import { type OptimizerSettings, UPDATE_RULES } from "./update_rules.ts";

/** A tensor and the one its next value is written into. */
interface Slot {
  now: DeviceTensor;
  next: DeviceTensor;
}

/**
 * Makes an optimiser for a model's parameters. It owns the moments and one spare tensor per
 * parameter; the parameters' values stay the model's, which swaps in the spare at every update.
 *
 * @throws {RangeError} where there is nothing to train
 */
export async function graphOptimizer(
  runner: Runner,
  parameters: readonly Parameter[],
  settings: OptimizerSettings,
): Promise<Optimizer> {
  if (parameters.length === 0) throw new RangeError("Cannot make an optimiser without parameters");
  const dims = parameters.map((parameter) => parameter.dims);
  const update = updateModel(dims, settings);
  // Small elementwise graphs: nothing for ORT's optimiser to win but time at the start.
  const norm = await runner.compile(squaredNormModel(dims), {
    optimization: "basic",
    label: "gradient norm",
  });
  try {
    const step = await runner.compile(update.model, {
      optimization: "basic",
      label: settings.name,
    });
    return new GraphOptimizer(runner, parameters, settings, norm, step, update.scalars);
  } catch (error) {
    norm[Symbol.dispose]();
    throw error;
  }
}

class GraphOptimizer implements Optimizer {
  readonly #spares: DeviceTensor[];
  readonly #slots: readonly (readonly Slot[])[];
  readonly #scalars: ReadonlyMap<string, DeviceTensor>;
  #updates = 0;
  #canRevert = false;

  constructor(
    runner: Runner,
    readonly parameters: readonly Parameter[],
    readonly settings: OptimizerSettings,
    readonly norm: Executable,
    readonly step: Executable,
    scalars: readonly string[],
  ) {
    this.#spares = parameters.map(({ dims }) => runner.allocate("float32", dims));
    this.#slots = parameters.map(({ dims }) =>
      this.#slotNames.map(() => ({
        now: runner.allocate("float32", dims),
        next: runner.allocate("float32", dims),
      }))
    );
    this.#scalars = new Map(scalars.map((name) => [name, runner.allocate("float32", [])]));
  }

  get #slotNames(): readonly string[] {
    return UPDATE_RULES[this.settings.name].slots;
  }

  #gradOf(parameter: Parameter): DeviceTensor {
    if (parameter.grad === undefined) {
      throw new TypeError(`Cannot update "${parameter.name}": it has no gradient yet`);
    }
    return parameter.grad;
  }

  async gradientNorm(): Promise<number> {
    const feeds = Object.fromEntries(
      this.parameters.map((parameter, i) => [valueNames(i, []).grad, this.#gradOf(parameter)]),
    );
    using squared = (await this.norm.run(feeds)).squared_norm;
    return Math.sqrt(toNumbers(squared.read())[0]);
  }

  async update(learningRate: number, gradientScale: number): Promise<void> {
    const rule = UPDATE_RULES[this.settings.name];
    const scalars: Record<string, number> = {
      ...rule.scalars(this.settings, learningRate, this.#updates + 1),
      [GRADIENT_SCALE]: gradientScale,
    };
    const feeds: Record<string, DeviceTensor> = {};
    const outputs: Record<string, DeviceTensor> = {};
    for (const [name, held] of this.#scalars) {
      held.write(float32([], [scalars[name]]));
      feeds[name] = held;
    }
    this.parameters.forEach((parameter, i) => {
      const names = valueNames(i, this.#slotNames);
      feeds[names.parameter] = parameter.value;
      feeds[names.grad] = this.#gradOf(parameter);
      outputs[names.newParameter] = this.#spares[i];
      this.#slots[i].forEach((slot, k) => {
        feeds[names.slots[k]] = slot.now;
        outputs[names.newSlots[k]] = slot.next;
      });
    });
    await this.step.runInto(feeds, outputs);
    this.#swapParameters();
    for (const slot of this.#slots.flat()) [slot.now, slot.next] = [slot.next, slot.now];
    this.#updates++;
    this.#canRevert = true;
  }

  #swapParameters(): void {
    this.parameters.forEach((parameter, i) => {
      [parameter.value, this.#spares[i]] = [this.#spares[i], parameter.value];
    });
  }

  revert(): boolean {
    if (!this.#canRevert) return false;
    this.#swapParameters();
    this.#canRevert = false;
    return true;
  }

  state(): OptimizerState {
    const moments = this.parameters.flatMap(({ name }, i) =>
      this.#slotNames.map((slot, k) => [`${name}.${slot}`, this.#slots[i][k].now.view()] as const)
    );
    const previous = this.#canRevert
      ? new Map(this.parameters.map(({ name }, i) => [name, this.#spares[i].view()]))
      : undefined;
    return { updates: this.#updates, moments: new Map(moments), previous };
  }

  restore({ updates, moments, previous }: OptimizerState): void {
    this.parameters.forEach(({ name }, i) => {
      this.#slotNames.forEach((slot, k) => {
        write(this.#slots[i][k].now, moments.get(`${name}.${slot}`), `moment "${name}.${slot}"`);
      });
      if (previous !== undefined) {
        write(this.#spares[i], previous.get(name), `previous value of "${name}"`);
      }
    });
    this.#updates = updates;
    this.#canRevert = previous !== undefined;
  }

  [Symbol.dispose](): void {
    for (const spare of this.#spares) spare[Symbol.dispose]();
    for (const { now, next } of this.#slots.flat()) {
      now[Symbol.dispose]();
      next[Symbol.dispose]();
    }
    for (const scalar of this.#scalars.values()) scalar[Symbol.dispose]();
    this.norm[Symbol.dispose]();
    this.step[Symbol.dispose]();
  }
}

/** @param what it is, for the error */
function write(held: DeviceTensor, value: Tensor | undefined, what: string): void {
  if (value === undefined || value.dims.join() !== held.dims.join()) {
    throw new RangeError(
      `Cannot resume the optimiser: ${what} must be [${held.dims}]: current value is ` +
        (value === undefined ? "missing" : `[${value.dims}]`),
    );
  }
  held.write(value);
}
