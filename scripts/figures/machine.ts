/** How much of the machine's processors goes to whom, from Linux's /proc. */

/** Linux counts the machine's processor time in hundredths of a second. */
const TICK_MS = 10;

/** Processor time that everything on the machine used so far, in ms. */
function machineMs(): number {
  // cpu user nice system idle iowait irq softirq steal
  const [user, nice, system, , , irq, softirq, steal] = Deno.readTextFileSync("/proc/stat")
    .split("\n")[0].trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq + steal) * TICK_MS;
}

/** Processor time that the threads of a process used so far, in ms. */
function processMs(pid: number): number {
  let nanoseconds = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(
      Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`).split(" ")[0],
    );
  }
  return nanoseconds / 1e6;
}

/** What became of the processors while something was done. */
export interface Watched<T> {
  readonly result: T;
  /** Processor time of the processes watched, in ms. */
  readonly ownMs: number;
  /** Share of all processors that others used. */
  readonly others: number;
}

/** @param pids processes whose work is no disturbance */
export async function watched<T>(
  pids: readonly number[],
  action: () => Promise<T>,
): Promise<Watched<T>> {
  const own = () => pids.reduce((sum, pid) => sum + processMs(pid), 0);
  const [machine, ours, start] = [machineMs(), own(), performance.now()];
  const result = await action();
  const wall = (performance.now() - start) * navigator.hardwareConcurrency;
  const ownMs = own() - ours;
  return { result, ownMs, others: Math.max(0, machineMs() - machine - ownMs) / wall };
}
