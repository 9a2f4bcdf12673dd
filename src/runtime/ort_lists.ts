/** Parallel lists of runs, over ONNX Runtime. */
import { encodeLists, type Ort, OrtValue, Pins, RunThreads } from "../../ffi/mod.ts";
import { attempt } from "./failure.ts";
import { OrtExecutable } from "./ort_executable.ts";
import { OrtTensor, type TensorOwner } from "./ort_tensor.ts";
import type { EarlierResult, ListedResult, ListedRun, OnListedRun } from "./runner.ts";
import { ownValue } from "../records.ts";

/** Milliseconds between looks at what has ended, where somebody is told of it. */
const LOOK_EVERY_MS = 1;

export class OrtLists implements Disposable {
  readonly #owner: TensorOwner;
  readonly #ort: Ort;
  readonly #threads: RunThreads;

  constructor(owner: TensorOwner, ort: Ort) {
    this.#owner = owner;
    this.#ort = ort;
    this.#threads = new RunThreads(ort);
  }

  async run(
    lists: readonly (readonly ListedRun[])[],
    onRun?: OnListedRun,
  ): Promise<readonly (readonly ListedResult[])[]> {
    using pins = new Pins();
    const executables = lists.map((list) => list.map(({ executable }) => executableOf(executable)));
    const earlier = ({ list, run, output }: EarlierResult) => ({
      list,
      run,
      output: executables[list][run].outputNames.indexOf(output),
    });
    const { encoded, cellOf } = encodeLists(
      lists.map((list, l) => list.map((run, r) => executables[l][r].listed(run, earlier, pins))),
    );
    /** What other runs read is theirs until the end. */
    const isRead = Array.from(encoded.readers, (count) => count > 0);
    const adopted = new Map<number, OrtTensor>();
    const resultsOf = (list: number, run: number, goesOn = false): ListedResult => {
      const made = executables[list][run].outputNames.flatMap((name, output) => {
        const cell = cellOf({ list, run, output });
        const value = encoded.cells[cell];
        if (value === 0n || ownValue(lists[list][run].into, name) !== undefined) return [];
        if (goesOn && isRead[cell]) return [];
        const tensor = adopted.get(cell) ??
          new OrtTensor(this.#owner, OrtValue.adopt(this.#ort, value));
        adopted.set(cell, tensor);
        return [[name, tensor] as const];
      });
      return { outputs: Object.fromEntries(made), milliseconds: encoded.times[list][run] };
    };
    const results = () => lists.map((runs, list) => runs.map((_, run) => resultsOf(list, run)));
    const told = lists.map(() => 0);
    const tell = (take: OnListedRun) => {
      for (const list of lists.keys()) {
        const done = Atomics.load(encoded.progress, list);
        while (told[list] < done) take(list, told[list], resultsOf(list, told[list]++, true));
      }
    };
    const timer = onRun && setInterval(() => tell(onRun), LOOK_EVERY_MS);
    try {
      await this.#threads.carryOut(
        encoded,
        (list, run, raise) => attempt(`Cannot run "${executables[list][run].label}"`, raise),
      );
    } catch (error) {
      // Runs before the failure.
      for (const { outputs } of results().flat()) {
        for (const tensor of Object.values(outputs)) tensor[Symbol.dispose]();
      }
      throw error;
    } finally {
      clearInterval(timer);
    }
    if (onRun !== undefined) tell(onRun);
    return results();
  }

  [Symbol.dispose](): void {
    this.#threads[Symbol.dispose]();
  }
}

function executableOf(executable: unknown): OrtExecutable {
  if (executable instanceof OrtExecutable) return executable;
  throw new TypeError("Cannot list a run of another runner's graph");
}
