/** How long each operator of the sessions took, from ONNX Runtime's own profiles. */
import { join } from "@std/path";
import { nodeRuns } from "../runtime/profile_nodes.ts";
import type { CompileOptions, Executable, Runner } from "../runtime/runner.ts";
import { over } from "./over.ts";

/** Collects the profiles of all sessions that a wrapped runner makes. */
export class OperatorClock implements Disposable {
  /** Labels of sessions whose profiles go on. */
  readonly #open = new Map<Executable, string>();
  readonly #runs: { readonly label: string; readonly operator: string; at: number; ms: number }[] =
    [];

  /** Where ONNX Runtime writes the profiles. */
  readonly #folder = Deno.makeTempDirSync({ prefix: "graft-profiles-" });

  /** Wraps a runner; disposing of the wrapper disposes of it. */
  wrap(inner: Runner): Runner {
    let sessions = 0;
    const options = (given: CompileOptions | undefined): CompileOptions => ({
      ...given,
      // Two that are made in one second would write to one file.
      profilePrefix: join(this.#folder, `session-${sessions++}`),
    });
    return over(inner, {
      load: (path, given) =>
        this.#watch(() => inner.load(path, options(given)), given?.label ?? path),
      compile: (model, given) =>
        this.#watch(() => inner.compile(model, options(given)), given?.label ?? model.graph.name),
    });
  }

  /**
   * Ends the profiles; what runs later is not in them.
   *
   * @param since `performance.now()` before which runs do not count
   * @returns milliseconds by label of the session, then by operator
   */
  take(since: number): ReadonlyMap<string, ReadonlyMap<string, number>> {
    for (const executable of [...this.#open.keys()]) this.#end(executable);
    const sums = new Map<string, Map<string, number>>();
    for (const { label, operator, at, ms } of this.#runs) {
      if (at < since) continue;
      const operators = sums.get(label) ?? new Map<string, number>();
      operators.set(operator, (operators.get(operator) ?? 0) + ms);
      sums.set(label, operators);
    }
    return sums;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#folder, { recursive: true });
  }

  async #watch(make: () => Promise<Executable>, label: string): Promise<Executable> {
    const executable = await make();
    this.#open.set(executable, label);
    return over(executable, {
      [Symbol.dispose]: () => {
        this.#end(executable);
        executable[Symbol.dispose]();
      },
    });
  }

  #end(executable: Executable): void {
    const label = this.#open.get(executable);
    if (label === undefined) return;
    this.#open.delete(executable);
    const { path, startedAt } = executable.endProfiling();
    for (const { operator, at, milliseconds } of nodeRuns(Deno.readTextFileSync(path))) {
      this.#runs.push({ label, operator, at: startedAt + at, ms: milliseconds });
    }
    Deno.removeSync(path);
  }
}
