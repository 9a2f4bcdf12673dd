/** Sessions over a model that reads one text at a time: each waits for the ones before it. */
import type { AdapterMatrices } from "./adapter_inputs.ts";
import type { TokenReader, TokenSession, TokenSessions } from "./token_sessions.ts";

export class SerialSessions implements TokenSessions {
  readonly parallel = 1;
  readonly #model: TokenReader;
  #last: Promise<unknown> = Promise.resolve();

  /** @param model keeps what the last text has read, for a next one that begins with it */
  constructor(model: TokenReader) {
    this.#model = model;
  }

  open(signal?: AbortSignal, _?: AdapterMatrices, onTurn?: () => void): TokenSession {
    const turn = this.#last;
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    this.#last = turn.then(() => ended);
    let reading: Promise<unknown> = Promise.resolve();
    let told = false;
    const inTurn = async (read: () => Promise<Float32Array>) => {
      await untilAborted(turn, signal);
      if (!told) onTurn?.();
      told = true;
      const logits = read();
      reading = logits.catch(() => {});
      return await logits;
    };
    return {
      continueTo: (ids) => inTurn(() => this.#model.continueTo(ids)),
      advance: (ids) => inTurn(() => this.#model.advance(ids)),
      // A read that nobody waits for any more must not meet the next session's.
      [Symbol.dispose]: () => void reading.then(() => end()),
    };
  }
}

/** Waits for a promise; rejects with the signal's reason when it is aborted before. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) return leave();
    signal.addEventListener("abort", leave, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
  });
}
