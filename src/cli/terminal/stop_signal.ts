/** Ctrl-C and SIGTERM: the first one ends the work in order, the second at once. */
import { EXIT, InterruptedError } from "../../errors.ts";
import type { Terminal } from "./output.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/**
 * An `AbortSignal` that the first SIGINT or SIGTERM aborts, with an {@linkcode InterruptedError} as its
 * reason; listening ends on disposal.
 */
export class StopSignal implements Disposable {
  readonly #controller = new AbortController();
  readonly #handlers: ReadonlyMap<Deno.Signal, () => void>;

  /** @param onFirst called at the first signal, to report that the work is ending */
  constructor(onFirst: () => void) {
    const stop = (name: string) => {
      if (this.#controller.signal.aborted) Deno.exit(EXIT.interrupted);
      this.#controller.abort(new InterruptedError(`Stopped by ${name}`));
      onFirst();
    };
    this.#handlers = new Map(SIGNALS.map((name) => [name, () => stop(name)]));
    for (const [name, handler] of this.#handlers) Deno.addSignalListener(name, handler);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const [name, handler] of this.#handlers) Deno.removeSignalListener(name, handler);
  }
}

/**
 * Runs work that changes nothing before its end, and that a signal can end.
 *
 * @param path its output, for the message
 * @throws {InterruptedError} if a signal ended it
 */
export async function untilStopped<T>(
  path: string,
  terminal: Terminal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using stop = new StopSignal(() =>
    terminal.note(`Stopping, nothing is written to ${path}; again to stop at once`)
  );
  return await work(stop.signal);
}
