/**
 * Memory for the tensors that pass between a step's calls: one slab for the plans of all batch shapes, and
 * one more for each schedule that runs at the same time as others.
 */
import { collectGarbage, giveBackFreed } from "../system/memory.ts";
import type { Schedule } from "../plan/schedule.ts";
import type { Placement } from "../plan/step_memory.ts";
import { tooLarge } from "../runtime/memory_limit.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";

/** Address space that a slab reserves; pages are taken when something is written to them. */
const RESERVED_BYTES = 2 ** 36;

/**
 * Runs whose tensors are kept: a step, what the next one needs and an evaluation between them. Making those
 * of a shape again when it recurs costs little compared with its step; keeping those of all shapes would cost
 * much compared with what a small model takes.
 */
const RUNS_KEPT = 4;

export class StepSlab implements Disposable {
  readonly #runner: Runner;
  /** They grow in place, so that tensors over them keep their addresses. */
  readonly #slabs: ArrayBuffer[] = [];
  /** By schedule and slab. */
  readonly #tensors = new Map<Schedule, Map<ArrayBuffer, ReadonlyMap<string, DeviceTensor>>>();
  /** Schedules of the last runs. */
  readonly #recent: (readonly Schedule[])[] = [];

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /**
   * Tensors by name, for each of several schedules that run at the same time, each in the slab of its number.
   * Tensors of other runs share this memory. They last until others have been asked for {@linkcode RUNS_KEPT}
   * times.
   *
   * @param slabs how many run at the same time, if not all: the next one has the first slab again
   */
  tensorsOf(
    schedules: readonly Schedule[],
    slabs = schedules.length,
  ): ReadonlyMap<string, DeviceTensor>[] {
    this.#recent.push(schedules);
    if (this.#recent.length > RUNS_KEPT) this.#recent.shift();
    const recent = new Set(this.#recent.flat());
    for (const schedule of this.#tensors.keys()) {
      if (!recent.has(schedule)) this.#forget(schedule);
    }
    return schedules.map((schedule, s) => {
      const i = s % slabs;
      this.#slabs[i] ??= new ArrayBuffer(0, { maxByteLength: RESERVED_BYTES });
      return this.#tensorsIn(this.#slabs[i], schedule);
    });
  }

  #tensorsIn(memory: ArrayBuffer, schedule: Schedule): ReadonlyMap<string, DeviceTensor> {
    let placed = this.#tensors.get(schedule);
    if (placed === undefined) this.#tensors.set(schedule, placed = new Map());
    const found = placed.get(memory);
    if (found !== undefined) return found;
    const { bytes, placements } = schedule.memory;
    const limit = this.#runner.memoryBytes ?? Infinity;
    if (bytes > limit) throw tooLarge(`Cannot compute ${largestOf(placements)}`, bytes, limit);
    if (memory.byteLength < bytes) {
      // What planning and comparisons have left, before native memory grows.
      collectGarbage();
      giveBackFreed();
      memory.resize(bytes);
    }
    const tensors = new Map(
      [...placements].map(([name, { offset, bytes, dtype, dims }]) => [
        name,
        this.#runner.share({ dtype, dims, bytes: new Uint8Array(memory, offset, bytes) }),
      ]),
    );
    placed.set(memory, tensors);
    return tensors;
  }

  #forget(schedule: Schedule): void {
    for (const tensors of this.#tensors.get(schedule)?.values() ?? []) {
      for (const tensor of tensors.values()) tensor[Symbol.dispose]();
    }
    this.#tensors.delete(schedule);
  }

  [Symbol.dispose](): void {
    for (const schedule of this.#tensors.keys()) this.#forget(schedule);
    for (const memory of this.#slabs) memory.resize(0);
  }
}

/** Names the tensor that takes the most: what makes a step take too much. */
function largestOf(placements: ReadonlyMap<string, Placement>): string {
  const [name, { dtype, dims }] = [...placements].reduce((a, b) => a[1].bytes > b[1].bytes ? a : b);
  return `"${name}", ${dtype}[${dims}]`;
}
