/** A runner that tells how long each run of its executables took. */
import type { Executable, Runner } from "../runtime/runner.ts";
import { over } from "./over.ts";

/** Told the label that the session was compiled under. */
export type OnRun = (label: string, milliseconds: number) => void;

/** Wraps a runner; disposing of the wrapper disposes of it. */
export function timedRunner(inner: Runner, onRun: OnRun): Runner {
  return over(inner, {
    load: async (path, options) =>
      timedExecutable(await inner.load(path, options), options?.label ?? path, onRun),
    compile: async (model, options) =>
      timedExecutable(
        await inner.compile(model, options),
        options?.label ?? model.graph.name,
        onRun,
      ),
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
