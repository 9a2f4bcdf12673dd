/** An optimiser whose arithmetic runs in the runtime, beside the parameters. */
import { elementCount, float32, type Tensor, tensor, toNumbers } from "../graph/tensor.ts";
import type { DeviceTensor, ListedRun, Runner } from "../runtime/runner.ts";
import type { Optimizer, OptimizerState } from "./optimizer.ts";
import { GRADIENT_SCALE, inputNames, scalarNames, sizeOf } from "./optimizer_graphs.ts";
import { OptimizerSessions, type UpdateSessions } from "./optimizer_sessions.ts";
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

/**
 * Makes an optimiser for a model's parameters. It owns the moments and one spare tensor per
 * parameter; the parameters' values stay the model's, which swaps in the spare at every update.
 *
 * @param shards threads that each take a part of the parameters, as they take a part of a batch; with 1, the
 *   runner's threads divide every operator
 * @throws {RangeError} if there is nothing to train
 */
export async function graphOptimizer(
  runner: Runner,
  parameters: readonly Parameter[],
  settings: OptimizerSettings,
  shards = 1,
): Promise<Optimizer> {
  if (parameters.length === 0) throw new RangeError("Cannot make an optimiser without parameters");
  const sessions = new OptimizerSessions(runner, settings, shards > 1);
  try {
    const groups: Group[] = [];
    const isWebGpu = runner.providers.some((name) => name.startsWith("WebGpu"));
    for (const members of grouped(parameters, isWebGpu ? WEBGPU_TENSORS : Infinity)) {
      const compiled = await sessions.of(members.map(({ dims }) => dims));
      groups.push(new Group(runner, members, UPDATE_RULES[settings.name].slots, compiled));
    }
    return new GraphOptimizer(runner, groups, settings, sessions, shards);
  } catch (error) {
    sessions[Symbol.dispose]();
    throw error;
  }
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

class GraphOptimizer implements Optimizer {
  readonly #scalars: ReadonlyMap<string, DeviceTensor>;
  #updates = 0;
  #canRevert = false;

  constructor(
    readonly runner: Runner,
    readonly groups: readonly Group[],
    readonly settings: OptimizerSettings,
    readonly sessions: OptimizerSessions,
    readonly shards: number,
  ) {
    this.#scalars = new Map(
      scalarNames(settings).map((name) => [name, runner.allocate("float32", [])]),
    );
  }

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
    const rule = UPDATE_RULES[this.settings.name];
    const values: Record<string, number> = {
      ...rule.scalars(this.settings, learningRate, this.#updates + 1),
      [GRADIENT_SCALE]: gradientScale,
    };
    for (const [name, held] of this.#scalars) held.write(float32([], [values[name]]));
    const scalars = Object.fromEntries(this.#scalars);
    await this.#runAll(this.groups.map((group) => group.update(scalars)));
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
    for (const group of this.groups) group[Symbol.dispose]();
    for (const scalar of this.#scalars.values()) scalar[Symbol.dispose]();
    this.sessions[Symbol.dispose]();
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

  constructor(
    runner: Runner,
    readonly members: readonly Parameter[],
    slots: readonly string[],
    readonly sessions: UpdateSessions,
  ) {
    const size = sizeOf(members.map(({ dims }) => dims));
    this.#spares = members.map(({ dims }) => runner.allocate("float32", dims));
    this.#slots = slots.map((name) => {
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
  update(scalars: Readonly<Record<string, DeviceTensor>>): FedRun {
    const { step, outputs } = this.sessions;
    const feeds: Record<string, DeviceTensor> = { ...scalars };
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
