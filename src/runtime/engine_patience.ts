/** Reports that TensorRT is building an engine, which takes minutes without other output. */

/** Seconds before the first line, and between lines. */
const SECONDS = 10;

/**
 * Waits for `work`, with a line every ten seconds.
 *
 * @param label names the model
 * @param folder folder in which the engine is kept, if any
 */
export async function withPatience<T>(
  label: string,
  folder: string | undefined,
  note: (line: string) => void,
  work: () => Promise<T>,
  intervalMs = SECONDS * 1000,
): Promise<T> {
  const began = performance.now();
  const kept = folder === undefined
    ? "and does so at every start, since no cache folder is there"
    : `once: it is kept in ${folder}`;
  const timer = setInterval(() => {
    const seconds = Math.round((performance.now() - began) / 1000);
    note(`TensorRT builds an engine for "${label}", ${kept}: ${seconds} s`);
  }, intervalMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
