/** Memory for the tensors that pass between a step's calls: one stretch for the plans of all batch shapes. */
import { collectGarbage } from "../system/memory.ts";
import type { Schedule } from "../plan/schedule.ts";
import { ALIGNMENT } from "../plan/step_memory.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";

/** Address space that is set aside; pages are taken when something is written to them. */
const RESERVED_BYTES = 2 ** 36;

export class StepSlab implements Disposable {
  readonly #runner: Runner;
  /** Grows in place, so that tensors over it stay where they are. */
  readonly #memory = new ArrayBuffer(0, { maxByteLength: RESERVED_BYTES });
  /** By schedule and where it starts. */
  readonly #tensors = new Map<Schedule, Map<number, ReadonlyMap<string, DeviceTensor>>>();

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /**
   * Tensors by name, for each of some schedules that run beside each other: one after the other in
   * this order. Those of other runs lie in the same place.
   */
  tensorsOf(schedules: readonly Schedule[]): ReadonlyMap<string, DeviceTensor>[] {
    let start = 0;
    return schedules.map((schedule) => {
      const tensors = this.#tensorsAt(schedule, start);
      start += Math.ceil(schedule.memory.bytes / ALIGNMENT) * ALIGNMENT;
      return tensors;
    });
  }

  #tensorsAt(schedule: Schedule, start: number): ReadonlyMap<string, DeviceTensor> {
    let placed = this.#tensors.get(schedule);
    if (placed === undefined) this.#tensors.set(schedule, placed = new Map());
    const found = placed.get(start);
    if (found !== undefined) return found;
    const { bytes, places } = schedule.memory;
    if (this.#memory.byteLength < start + bytes) {
      collectGarbage(); // what planning has left, before native memory grows
      this.#memory.resize(start + bytes);
    }
    const tensors = new Map(
      [...places].map(([name, { offset, bytes, dtype, dims }]) => [
        name,
        this.#runner.share({
          dtype,
          dims,
          bytes: new Uint8Array(this.#memory, start + offset, bytes),
        }),
      ]),
    );
    placed.set(start, tensors);
    return tensors;
  }

  /** Forgets a schedule's tensors. */
  forget(schedule: Schedule): void {
    for (const tensors of this.#tensors.get(schedule)?.values() ?? []) {
      for (const tensor of tensors.values()) tensor[Symbol.dispose]();
    }
    this.#tensors.delete(schedule);
  }

  [Symbol.dispose](): void {
    for (const schedule of [...this.#tensors.keys()]) this.forget(schedule);
    this.#memory.resize(0);
  }
}
