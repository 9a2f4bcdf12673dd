/** What a process has taken, from Linux' /proc. */

/** Milliseconds of the processor that all threads of a process have used; 0 once it has ended. */
export function processorMs(pid: number | "self" = "self"): number {
  const text = read(pid, "stat");
  // The second field is the program's name, in parentheses, and may hold spaces.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [user, system] = fields.slice(11, 13).map(Number);
  return text === "" ? 0 : 10 * (user + system);
}

/** Resident memory now, and at most since {@linkcode forgetPeak}; 0 once the process has ended. */
export function memoryOf(pid: number | "self" = "self") {
  const text = read(pid, "status");
  const field = (name: string) =>
    1024 * Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? 0);
  return { residentBytes: field("VmRSS"), peakBytes: field("VmHWM") };
}

/** Forgets this process's peak of memory so far; see proc(5), clear_refs. */
export const forgetPeak = () => Deno.writeTextFileSync("/proc/self/clear_refs", "5");

function read(pid: number | "self", file: string): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/${file}`);
  } catch {
    return "";
  }
}
