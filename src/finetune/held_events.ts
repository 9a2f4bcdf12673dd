/** Events that wait, so that others can be reported before them. */
import type { FineTuneEvent, OnEvent } from "./events.ts";

/** Holds events until `release()`, or until its disposal if an error comes first. */
export class HeldEvents<E extends FineTuneEvent> implements Disposable {
  readonly #held: E[] = [];

  constructor(readonly onEvent: OnEvent<E>) {}

  readonly hold: OnEvent<E> = (event) => void this.#held.push(event);

  release(): void {
    for (const event of this.#held.splice(0)) this.onEvent(event);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
