/** Ctrl-C and SIGTERM: the first asks the work to end in order, the second ends it at once. */
import { EXIT } from "../errors.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** An `AbortSignal` that the first SIGINT or SIGTERM fires; listening ends on disposal. */
export class StopSignal implements Disposable {
  readonly #controller = new AbortController();
  readonly #handler: () => void;

  /** @param onFirst called at the first signal, to tell that the work is ending */
  constructor(onFirst: () => void) {
    this.#handler = () => {
      if (this.#controller.signal.aborted) Deno.exit(EXIT.interrupted);
      this.#controller.abort();
      onFirst();
    };
    for (const name of SIGNALS) Deno.addSignalListener(name, this.#handler);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const name of SIGNALS) Deno.removeSignalListener(name, this.#handler);
  }
}
