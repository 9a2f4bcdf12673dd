/**
 * Memory for the tensors that pass between a step's calls: one stretch for the plans of all batch shapes,
 * and one more for each schedule that runs beside others.
 */
import { collectGarbage } from "../system/memory.ts";
import type { Schedule } from "../plan/schedule.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";

/** Address space that a stretch sets aside; pages are taken when something is written to them. */
const RESERVED_BYTES = 2 ** 36;

/**
 * Runs whose tensors stay: a step's, what the next one needs and an evaluation between them. To make
 * those of a shape again when it comes again is little beside its step; those of all shapes are not
 * little beside what a small model takes.
 */
const RUNS_KEPT = 4;

/** A schedule's tensors by name, for each stretch that it was placed in. */
interface Placed {
  readonly tensors: Map<ArrayBuffer, ReadonlyMap<string, DeviceTensor>>;
  /** The number of the run that last asked for them. */
  run: number;
}

export class StepSlab implements Disposable {
  readonly #runner: Runner;
  /** They grow in place, so that tensors over them stay where they are. */
  readonly #stretches: ArrayBuffer[] = [];
  readonly #placed = new Map<Schedule, Placed>();
  #runs = 0;

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /**
   * Tensors by name, for each of some schedules that run beside each other: each in the stretch of its
   * number. Those of other runs lie in the same place. They last until others have been asked for
   * {@linkcode RUNS_KEPT} times.
   */
  tensorsOf(schedules: readonly Schedule[]): ReadonlyMap<string, DeviceTensor>[] {
    this.#runs++;
    const tensors = schedules.map((schedule, i) => {
      this.#stretches[i] ??= new ArrayBuffer(0, { maxByteLength: RESERVED_BYTES });
      return this.#tensorsIn(this.#stretches[i], schedule);
    });
    this.#keepSince(this.#runs - RUNS_KEPT + 1);
    return tensors;
  }

  #tensorsIn(memory: ArrayBuffer, schedule: Schedule): ReadonlyMap<string, DeviceTensor> {
    let placed = this.#placed.get(schedule);
    if (placed === undefined) {
      this.#placed.set(schedule, placed = { tensors: new Map(), run: this.#runs });
    }
    placed.run = this.#runs;
    const found = placed.tensors.get(memory);
    if (found !== undefined) return found;
    const { bytes, places } = schedule.memory;
    if (memory.byteLength < bytes) {
      collectGarbage(); // what planning has left, before native memory grows
      memory.resize(bytes);
    }
    const tensors = new Map(
      [...places].map(([name, { offset, bytes, dtype, dims }]) => [
        name,
        this.#runner.share({ dtype, dims, bytes: new Uint8Array(memory, offset, bytes) }),
      ]),
    );
    placed.tensors.set(memory, tensors);
    return tensors;
  }

  #keepSince(first: number): void {
    for (const [schedule, { tensors, run }] of this.#placed) {
      if (run >= first) continue;
      for (const tensor of [...tensors.values()].flatMap((named) => [...named.values()])) {
        tensor[Symbol.dispose]();
      }
      this.#placed.delete(schedule);
    }
  }

  [Symbol.dispose](): void {
    this.#keepSince(Infinity);
    for (const memory of this.#stretches) memory.resize(0);
  }
}
