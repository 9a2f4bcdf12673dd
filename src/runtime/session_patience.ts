/**
 * Reports that ONNX Runtime is creating a session if that takes long: the time grows with the square of
 * a chain of nodes, so that a file of a few hundred kilobytes can take minutes.
 */

/** Seconds before the first line, and between later lines. */
const FIRST_SECONDS = 4;
const SECONDS = 15;

/**
 * Waits for `work`, with a line after four seconds and then every fifteen.
 *
 * @param label names the model
 * @param nodes number of nodes of its graph
 */
export async function withSessionPatience<T>(
  label: string,
  nodes: number,
  note: (line: string) => void,
  work: () => Promise<T>,
  secondMs = 1000,
): Promise<T> {
  const began = performance.now();
  const report = () => {
    const seconds = Math.round((performance.now() - began) / secondMs);
    note(`ONNX Runtime prepares "${label}", a graph of ${nodes} nodes: ${seconds} s`);
    timer = setTimeout(report, SECONDS * secondMs);
  };
  let timer = setTimeout(report, FIRST_SECONDS * secondMs);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
  }
}
