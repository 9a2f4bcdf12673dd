/** A runner that tells how long each run of its executables took. */
import type { Executable, ListedRun, OnListedRun, Runner } from "../runtime/runner.ts";
import { over } from "./over.ts";

/** Told the label that the session was compiled under. */
export type OnRun = (label: string, milliseconds: number) => void;

/**
 * Wraps a runner; disposing of the wrapper disposes of it. Of runs beside each other each counts for
 * its share of the time that passes.
 */
export function timedRunner(inner: Runner, onRun: OnRun): Runner {
  const labels = new WeakMap<Executable, string>();
  const timed = (executable: Executable, label: string) => {
    const wrapped = timedExecutable(executable, label, onRun);
    labels.set(wrapped, label);
    return wrapped;
  };
  return over(inner, {
    load: async (path, options) => timed(await inner.load(path, options), options?.label ?? path),
    compile: async (model, options) =>
      timed(await inner.compile(model, options), options?.label ?? model.graph.name),
    runLists: async (lists: readonly (readonly ListedRun[])[], onListed?: OnListedRun) => {
      const results = await inner.runLists(lists, onListed);
      results.forEach((list, l) =>
        list.forEach(({ milliseconds }, r) =>
          onRun(labels.get(lists[l][r].executable)!, milliseconds / lists.length)
        )
      );
      return results;
    },
  });
}

function timedExecutable(inner: Executable, label: string, onRun: OnRun): Executable {
  const time = async <T>(run: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await run();
    onRun(label, performance.now() - start);
    return result;
  };
  return over(inner, {
    run: (feeds, fetches, options) => time(() => inner.run(feeds, fetches, options)),
    runInto: (feeds, outputs) => time(() => inner.runInto(feeds, outputs)),
    bind(feeds, outputs) {
      const bound = inner.bind(feeds, outputs);
      return over(bound, { run: () => time(() => bound.run()) });
    },
  });
}
