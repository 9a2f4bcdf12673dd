/** Processes that a process started. */

/** Numbers of the processes that any thread of `pid` started and that have not ended. */
export function childrenOf(pid: number): number[] {
  try {
    return [...Deno.readDirSync(`/proc/${pid}/task`)].flatMap(({ name }) =>
      Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`).trim().split(" ")
    ).filter((number) => number !== "").map(Number);
  } catch {
    return []; // it has ended
  }
}
