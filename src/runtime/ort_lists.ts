/** Parallel lists of runs, over ONNX Runtime. */
import { encodeLists, type Ort, OrtValue, Pins, RunThreads } from "../../ffi/mod.ts";
import { attempt } from "./failure.ts";
import { OrtExecutable } from "./ort_executable.ts";
import { OrtTensor, type TensorOwner } from "./ort_tensor.ts";
import type { EarlierResult, ListedResult, ListedRun } from "./runner.ts";
import { ownValue } from "../records.ts";

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
    const resultsOf = (list: number, run: number): ListedResult => {
      const made = executables[list][run].outputNames.flatMap((name, output) => {
        const value = encoded.cells[cellOf({ list, run, output })];
        if (value === 0n || ownValue(lists[list][run].into, name) !== undefined) return [];
        return [[name, new OrtTensor(this.#owner, OrtValue.adopt(this.#ort, value))] as const];
      });
      return { outputs: Object.fromEntries(made), milliseconds: encoded.times[list][run] };
    };
    const results = () => lists.map((runs, list) => runs.map((_, run) => resultsOf(list, run)));
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
    }
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
