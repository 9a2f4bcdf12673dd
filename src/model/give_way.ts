/** Long computations that let signals in. */

/**
 * Lets what waits for the thread have its turn: a signal is heard only between two turns.
 *
 * @throws the reason of `signal` where it has fired
 */
export async function giveWay(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return;
  await new Promise((resolve) => setTimeout(resolve, 0));
  signal.throwIfAborted();
}

/** The items of a sequence, until `signal` fires: then its reason is thrown. */
export async function* untilAborted<T>(
  items: Iterable<T> | AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  for await (const item of items) {
    await giveWay(signal);
    yield item;
  }
}
