/** Memory for the tensors that pass between a step's calls: one stretch for the plans of all batch shapes. */
import { collectGarbage } from "../system/memory.ts";
import type { Schedule } from "../plan/schedule.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";

/** Address space that is set aside; pages are taken when something is written to them. */
const RESERVED_BYTES = 2 ** 36;

export class StepSlab implements Disposable {
  readonly #runner: Runner;
  /** Grows in place, so that tensors over it stay where they are. */
  readonly #memory = new ArrayBuffer(0, { maxByteLength: RESERVED_BYTES });
  readonly #tensors = new Map<Schedule, ReadonlyMap<string, DeviceTensor>>();

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /** Tensors of a schedule by name. Those of other schedules lie in the same place. */
  tensorsOf(schedule: Schedule): ReadonlyMap<string, DeviceTensor> {
    // Before native memory grows: what planning a new shape has left goes.
    collectGarbage();
    const found = this.#tensors.get(schedule);
    if (found !== undefined) return found;
    const { bytes, places } = schedule.memory;
    if (this.#memory.byteLength < bytes) this.#memory.resize(bytes);
    const tensors = new Map(
      [...places].map(([name, { offset, bytes, dtype, dims }]) => [
        name,
        this.#runner.share({ dtype, dims, bytes: new Uint8Array(this.#memory, offset, bytes) }),
      ]),
    );
    this.#tensors.set(schedule, tensors);
    return tensors;
  }

  /** Forgets a schedule's tensors. */
  forget(schedule: Schedule): void {
    for (const tensor of this.#tensors.get(schedule)?.values() ?? []) tensor[Symbol.dispose]();
    this.#tensors.delete(schedule);
  }

  [Symbol.dispose](): void {
    for (const schedule of [...this.#tensors.keys()]) this.forget(schedule);
    this.#memory.resize(0);
  }
}
