/** Times single runs of a compiled graph. */
import type { DeviceTensor, Executable } from "./runner.ts";

/** Runs a graph once with these inputs and drops what it gives; returns the milliseconds of the run. */
export async function timedRun(
  executable: Executable,
  feeds: Readonly<Record<string, DeviceTensor>>,
): Promise<number> {
  const start = performance.now();
  const results = await executable.run(feeds);
  const time = performance.now() - start;
  for (const value of Object.values(results)) value[Symbol.dispose]();
  return time;
}
