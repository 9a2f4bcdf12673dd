/** An optimiser whose arithmetic runs in the runtime, beside the parameters. */
import { elementCount, float32, type Tensor, tensor, toNumbers } from "../graph/tensor.ts";
import type { DeviceTensor, ListedRun, Runner } from "../runtime/runner.ts";
import type { Optimizer, OptimizerState } from "./optimizer.ts";
import { GRADIENT_SCALE, inputNames, scalarNames, sizeOf } from "./optimizer_graphs.ts";
import { OptimizerSessions, type UpdateSessions } from "./optimizer_sessions.ts";
import { type ParameterStep, SAME_STEP } from "./parameter_step.ts";
import { sessionClock } from "./session_clock.ts";
import type { Parameter } from "./step.ts";
import { type OptimizerSettings, UPDATE_RULES } from "./update_rules.ts";

/**
 * Approximate number of elements that are updated in one call: enough for the fixed cost of calls and
 * operators to be small, few enough for what passes between operators to stay in a processor's cache.
 */
const GROUP_ELEMENTS = 2 ** 18;
/** A kernel of WebGPU binds at most 16 buffers: a vector and the tensors that it is split into. */
const WEBGPU_TENSORS = 15;

/** How an optimiser runs, and which parameters it treats differently. */
export interface GraphOptimizerOptions {
  /**
   * Threads that each take a part of the parameters, as they take a part of a batch; with 1 (the default),
   * the runner's threads divide every operator.
   */
  readonly shards?: number;
  /** The step of each parameter, by name; default: all take the same. */
  readonly stepOf?: (name: string) => ParameterStep;
  /** Matrices [rank, rank] by which gradients [out, rank] are multiplied for the update, by name. */
  readonly projections?: ReadonlyMap<string, Tensor>;
}

/**
 * Makes an optimiser for a model's parameters. It owns the moments and one spare tensor per
 * parameter; the parameters' values stay the model's, which swaps in the spare at every update.
 *
 * @throws {RangeError} if there is nothing to train
 */
export async function graphOptimizer(
  runner: Runner,
  parameters: readonly Parameter[],
  settings: OptimizerSettings,
  { shards = 1, stepOf = () => SAME_STEP, projections = new Map() }: GraphOptimizerOptions = {},
): Promise<Optimizer> {
  if (parameters.length === 0) throw new RangeError("Cannot make an optimiser without parameters");
  using made = new DisposableStack();
  const sessions = made.use(new OptimizerSessions(runner, shards > 1));
  const isWebGpu = runner.providers.some((name) => name.startsWith("WebGpu"));
  const groups: Group[] = [];
  const alike = Map.groupBy(parameters, ({ name }) => JSON.stringify(stepOf(name)));
  const steps: StepScalars[] = [];
  for (const members of alike.values()) {
    const step = made.use(new StepScalars(runner, settings, stepOf(members[0].name)));
    steps.push(step);
    for (const some of grouped(members, isWebGpu ? WEBGPU_TENSORS : Infinity)) {
      const compiled = await sessions.of(
        some.map(({ dims }) => dims),
        step.settings,
        some.map(({ name }) => projections.has(name)),
      );
      groups.push(made.use(new Group(runner, some, step, compiled, projections)));
    }
  }
  return new GraphOptimizer(runner, groups, steps, shards, made.move());
}

/** Groups neighbours, so that layers of one kind make groups of the same shapes. */
function grouped(parameters: readonly Parameter[], most: number): Parameter[][] {
  const groups: Parameter[][] = [];
  let size = Infinity;
  for (const parameter of parameters) {
    const elements = elementCount(parameter.dims);
    if (size + elements > GROUP_ELEMENTS || groups.at(-1)?.length === most) {
      groups.push([]);
      size = 0;
    }
    groups[groups.length - 1].push(parameter);
    size += elements;
  }
  return groups;
}

/** The scalars of an update, in the runtime: one set for all parameters that take the same step. */
class StepScalars implements Disposable {
  readonly settings: OptimizerSettings;
  readonly #held: ReadonlyMap<string, DeviceTensor>;

  constructor(runner: Runner, settings: OptimizerSettings, readonly step: ParameterStep) {
    this.settings = step.decays ? settings : { ...settings, weightDecay: 0 };
    this.#held = new Map(
      scalarNames(settings).map((name) => [name, runner.allocate("float32", [])]),
    );
  }

  /** @param update its number, counted from 1 */
  write(learningRate: number, update: number, gradientScale: number): void {
    const rule = UPDATE_RULES[this.settings.name];
    const values: Record<string, number> = {
      ...rule.scalars(this.settings, learningRate * this.step.rateFactor, update),
      [GRADIENT_SCALE]: gradientScale,
    };
    for (const [name, held] of this.#held) held.write(float32([], [values[name]]));
  }

  get feeds(): Readonly<Record<string, DeviceTensor>> {
    return Object.fromEntries(this.#held);
  }

  [Symbol.dispose](): void {
    for (const scalar of this.#held.values()) scalar[Symbol.dispose]();
  }
}

class GraphOptimizer implements Optimizer {
  #updates = 0;
  #canRevert = false;

  /** @param owned all that is disposed of with it */
  constructor(
    readonly runner: Runner,
    readonly groups: readonly Group[],
    readonly steps: readonly StepScalars[],
    readonly shards: number,
    readonly owned: Disposable,
  ) {}

  async gradientNorm(): Promise<number> {
    const results = await this.#runAll(this.groups.map((group) => group.squaredNorm()));
    let sum = 0;
    for (const { squared_norm } of results) {
      using squared = squared_norm;
      sum += toNumbers(squared.read())[0];
    }
    return Math.sqrt(sum);
  }

  async update(learningRate: number, gradientScale: number): Promise<void> {
    for (const step of this.steps) step.write(learningRate, this.#updates + 1, gradientScale);
    await this.#runAll(this.groups.map((group) => group.update()));
    for (const group of this.groups) group.swap();
    this.#updates++;
    this.#canRevert = true;
  }

  /** @returns outputs that are not written into a place of their own, in the order of the runs */
  async #runAll(runs: readonly FedRun[]): Promise<Readonly<Record<string, DeviceTensor>>[]> {
    const made: Record<string, DeviceTensor>[] = [];
    if (this.shards === 1 || runs.length === 1) {
      for (const run of runs) made.push(await runAlone(run));
      return made;
    }
    const shares = Array.from(
      { length: Math.min(this.shards, runs.length) },
      (_, shard) => [...runs.keys()].filter((i) => i % this.shards === shard),
    );
    const results = await this.runner.runLists(shares.map((share) => share.map((i) => runs[i])));
    shares.forEach((share, l) => share.forEach((i, r) => made[i] = results[l][r].outputs));
    return made;
  }

  revert(): boolean {
    if (!this.#canRevert) return false;
    for (const group of this.groups) group.swapParameters();
    this.#canRevert = false;
    return true;
  }

  state(): OptimizerState {
    const previous = this.groups.flatMap((group) => group.spares());
    return {
      updates: this.#updates,
      moments: new Map(this.groups.flatMap((group) => group.moments())),
      previous: this.#canRevert ? new Map(previous) : undefined,
    };
  }

  restore({ updates, moments, previous }: OptimizerState): void {
    for (const group of this.groups) group.restore(moments, previous);
    this.#updates = updates;
    this.#canRevert = previous !== undefined;
  }

  [Symbol.dispose](): void {
    this.owned[Symbol.dispose]();
  }
}

/** A run whose feeds are all there. */
interface FedRun extends ListedRun {
  readonly feeds: Readonly<Record<string, DeviceTensor>>;
}

/** @returns outputs that are not written into a place of their own */
async function runAlone(
  { executable, feeds, into }: FedRun,
): Promise<Record<string, DeviceTensor>> {
  const results = await sessionClock(executable).time(
    1,
    (brief) => executable.run(feeds, executable.outputNames, { into, brief }),
  );
  return Object.fromEntries(Object.entries(results).filter(([name]) => into[name] === undefined));
}

/** A moment and what its next value is written into: itself, if runs may read and write the same memory. */
interface Slot {
  readonly name: string;
  now: DeviceTensor;
  next: DeviceTensor;
}

/** Parameters that are updated in one call. */
class Group implements Disposable {
  readonly #slots: readonly Slot[];
  readonly #spares: DeviceTensor[];
  /** By the names of their inputs. */
  readonly #projections: ReadonlyMap<string, DeviceTensor>;

  constructor(
    runner: Runner,
    readonly members: readonly Parameter[],
    readonly step: StepScalars,
    readonly sessions: UpdateSessions,
    projections: ReadonlyMap<string, Tensor>,
  ) {
    this.#projections = new Map(members.flatMap(({ name }, i) => {
      const projection = projections.get(name);
      return projection === undefined
        ? []
        : [[inputNames(i).projection, runner.upload(projection)] as const];
    }));
    const size = sizeOf(members.map(({ dims }) => dims));
    this.#spares = members.map(({ dims }) => runner.allocate("float32", dims));
    this.#slots = UPDATE_RULES[step.settings.name].slots.map((name) => {
      const now = runner.allocate("float32", [size]);
      return { name, now, next: runner.inPlace ? now : runner.allocate("float32", [size]) };
    });
  }

  /** Makes `squared_norm`. */
  squaredNorm(): FedRun {
    const feeds = Object.fromEntries(
      this.members.map((parameter, i) => [inputNames(i).grad, gradOf(parameter)]),
    );
    return { executable: this.sessions.norm, feeds, into: {} };
  }

  /** Computes the next values; {@linkcode swap} takes them over. */
  update(): FedRun {
    const { step, outputs } = this.sessions;
    const feeds: Record<string, DeviceTensor> = {
      ...this.step.feeds,
      ...Object.fromEntries(this.#projections),
    };
    const into: Record<string, DeviceTensor> = {};
    this.members.forEach((parameter, i) => {
      const names = inputNames(i);
      feeds[names.parameter] = parameter.value;
      feeds[names.grad] = gradOf(parameter);
      into[outputs.parameters[i]] = this.#spares[i];
    });
    this.#slots.forEach(({ name, now, next }, k) => {
      feeds[name] = now;
      into[outputs.slots[k]] = next;
    });
    return { executable: step, feeds, into };
  }

  swap(): void {
    this.swapParameters();
    for (const slot of this.#slots) [slot.now, slot.next] = [slot.next, slot.now];
  }

  swapParameters(): void {
    this.members.forEach((parameter, i) => {
      [parameter.value, this.#spares[i]] = [this.#spares[i], parameter.value];
    });
  }

  /** The moments, as views, by `<parameter>.<slot>`. */
  moments(): [string, Tensor][] {
    return this.#slots.flatMap(({ name: slot, now }) => {
      const { bytes } = now.view();
      return this.#pieces().map(({ name, dims, start, end }): [string, Tensor] => [
        `${name}.${slot}`,
        tensor("float32", dims, bytes.subarray(4 * start, 4 * end)),
      ]);
    });
  }

  /** The values that {@linkcode swapParameters} would put in place, by name. */
  spares(): [string, Tensor][] {
    return this.members.map(({ name }, i) => [name, this.#spares[i].view()]);
  }

  restore(
    moments: ReadonlyMap<string, Tensor>,
    previous: ReadonlyMap<string, Tensor> | undefined,
  ): void {
    for (const { name: slot, now } of this.#slots) {
      const bytes = new Uint8Array(4 * elementCount(now.dims));
      for (const { name, dims, start } of this.#pieces()) {
        const what = `moment "${name}.${slot}"`;
        bytes.set(checked(moments.get(`${name}.${slot}`), dims, what).bytes, 4 * start);
      }
      now.write(tensor("float32", now.dims, bytes));
    }
    if (previous === undefined) return;
    this.members.forEach(({ name, dims }, i) =>
      this.#spares[i].write(checked(previous.get(name), dims, `previous value of "${name}"`))
    );
  }

  [Symbol.dispose](): void {
    for (const projection of this.#projections.values()) projection[Symbol.dispose]();
    for (const spare of this.#spares) spare[Symbol.dispose]();
    for (const { now, next } of this.#slots) {
      now[Symbol.dispose]();
      if (next !== now) next[Symbol.dispose]();
    }
  }

  /** Each member's elements in the vector of all. */
  #pieces() {
    let end = 0;
    return this.members.map(({ name, dims }) => {
      const start = end;
      end += elementCount(dims);
      return { name, dims, start, end };
    });
  }
}

function gradOf(parameter: Parameter): DeviceTensor {
  if (parameter.grad === undefined) {
    throw new TypeError(`Cannot update "${parameter.name}": it has no gradient yet`);
  }
  return parameter.grad;
}

/** @param what names the value in the error */
function checked(value: Tensor | undefined, dims: readonly number[], what: string): Tensor {
  if (value !== undefined && value.dims.join() === dims.join()) return value;
  throw new RangeError(
    `Cannot resume the optimiser: ${what} must be [${dims}]: current value is ` +
      (value === undefined ? "missing" : `[${value.dims}]`),
  );
}
