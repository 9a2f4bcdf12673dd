/** Free memory, and the memory of this process and its children. Linux. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { limitHeaps, trimHeap } from "../../ffi/libc.ts";
import { listKernelFolder, readKernelFile } from "./kernel_files.ts";

/** A process's resident memory. */
export interface ProcessMemory {
  readonly rssBytes: number;
  /** Largest resident size so far. */
  readonly peakRssBytes: number;
  /** Private memory: heaps and stacks. */
  readonly anonymousBytes: number;
  /** File-backed memory: libraries and mapped weights. */
  readonly fileBytes: number;
}

/** A field of `/proc/PID/status` or `/proc/meminfo`, which count in kibibytes. */
function field(text: string, name: string): number | undefined {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text);
  return match === null ? undefined : Number(match[1]) * 1024;
}

/** Reads the text of `/proc/PID/status`. Kernel threads and zombies have no memory: all zero. */
export function parseProcessStatus(text: string): ProcessMemory {
  return {
    rssBytes: field(text, "VmRSS") ?? 0,
    peakRssBytes: field(text, "VmHWM") ?? 0,
    anonymousBytes: field(text, "RssAnon") ?? 0,
    fileBytes: field(text, "RssFile") ?? 0,
  };
}

/** Memory of this process, or of process `pid`; `undefined` if it has ended. */
export function processMemory(): ProcessMemory;
export function processMemory(pid: number): ProcessMemory | undefined;
export function processMemory(pid?: number): ProcessMemory | undefined {
  const text = readKernelFile(`/proc/${pid ?? "self"}/status`);
  return text === undefined ? undefined : parseProcessStatus(text);
}

/** Bytes that programs can still allocate without swapping, by the kernel's estimate. */
function availableBytes(): number | undefined {
  return field(readKernelFile("/proc/meminfo") ?? "", "MemAvailable");
}

/** A control group of this process that may limit its memory. */
interface MemoryGroup {
  readonly isV2: boolean;
  readonly folder: string;
}

/** From this process's own group to the outermost one. */
function* memoryGroups(readText: typeof readKernelFile): Generator<MemoryGroup> {
  for (const line of (readText("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    const isV2 = controllers === "";
    if (!isV2 && !controllers.split(",").includes("memory")) continue;
    const root = isV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    // Inside a container the path may name a group outside of it, so the root is always read. A group
    // above the namespace's own is written with "/.." before it, although it is mounted from the root.
    const inside = path.replace(/^(\/\.\.)+/, "").replace(/\/$/, "");
    for (let group = inside;; group = group.slice(0, group.lastIndexOf("/"))) {
      yield { isV2, folder: `${root}${group}` };
      if (group === "") break;
    }
  }
}

/** A control group's limit and the memory of its processes, without file pages that can be dropped. */
export interface CgroupMemory {
  readonly limitBytes: number;
  readonly usedBytes: number;
}

/** A group's limit; `undefined` for none. */
function groupMemory(
  { isV2, folder }: MemoryGroup,
  readText: typeof readKernelFile,
): CgroupMemory | undefined {
  const [limitFile, usedFile, cached] = isV2
    ? ["memory.max", "memory.current", "inactive_file"]
    : ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"];
  // "max" for none, or in the first version a number near 2^63.
  const limitBytes = Number(readText(`${folder}/${limitFile}`));
  if (!(limitBytes > 0 && limitBytes < UNLIMITED)) return undefined;
  // Inactive file pages are dropped before an allocation fails.
  const stat = readText(`${folder}/memory.stat`) ?? "";
  const droppable = Number(new RegExp(`^${cached} (\\d+)$`, "m").exec(stat)?.[1] ?? 0);
  const counted = Number(readText(`${folder}/${usedFile}`) ?? 0);
  return { limitBytes, usedBytes: Math.max(0, counted - droppable) };
}

/** Version 1 of control groups writes a number near 2^63 if there is no limit. */
const UNLIMITED = 2 ** 60;

/**
 * The tightest memory limit of the control groups around this process; `undefined` for none.
 *
 * @param readText reads a file, `undefined` if it is missing; for tests
 */
export function cgroupMemory(readText = readKernelFile): CgroupMemory | undefined {
  let tightest: CgroupMemory | undefined;
  for (const group of memoryGroups(readText)) {
    const found = groupMemory(group, readText);
    if (found === undefined) continue;
    if (tightest === undefined || headroom(found) < headroom(tightest)) tightest = found;
  }
  return tightest;
}

const headroom = (group: CgroupMemory) => Math.max(0, group.limitBytes - group.usedBytes);

/**
 * Bytes that this process can still allocate: the smaller of those left in the machine and in the
 * control group. `undefined` if neither is known.
 */
export function freeBytes(): number | undefined {
  const group = cgroupMemory();
  const available = availableBytes();
  if (group === undefined) return available;
  return Math.min(headroom(group), available ?? Infinity);
}

/**
 * Bytes of swap that this process can still use; 0 for none. Version 2 of control groups limits swap
 * separately, version 1 together with memory.
 *
 * @param readText reads a file, `undefined` if it is missing; for tests
 */
export function freeSwapBytes(readText = readKernelFile): number {
  let least = field(readText("/proc/meminfo") ?? "", "SwapFree") ?? 0;
  for (const group of memoryGroups(readText)) {
    least = Math.min(least, groupSwap(group, readText) ?? Infinity);
  }
  return least;
}

/** Bytes of swap that a group has left; `undefined` if it does not limit swap. */
function groupSwap(
  { isV2, folder }: MemoryGroup,
  readText: typeof readKernelFile,
): number | undefined {
  const bytes = (file: string) => Number(readText(`${folder}/${file}`) ?? 0);
  // "max" means no limit.
  const limit = Number(readText(`${folder}/memory.${isV2 ? "swap.max" : "memsw.limit_in_bytes"}`));
  if (!(limit >= 0 && limit < UNLIMITED)) return undefined;
  const left = isV2
    ? limit - bytes("memory.swap.current")
    // Version 1 counts memory and swap together.
    : limit - bytes("memory.limit_in_bytes") -
      (bytes("memory.memsw.usage_in_bytes") - bytes("memory.usage_in_bytes"));
  return Math.max(0, left);
}

/**
 * Returns freed native memory to the system, which the C library would keep for later. Useful after a
 * large allocation that will not be repeated.
 */
export function giveBackFreed(): void {
  trimHeap();
}

/**
 * Smallest block of native memory that is returned to the system when it is freed: glibc's initial
 * value.
 */
const OWN_PAGES_BYTES = 128 * 1024;

/**
 * Makes native code share one heap and return freed memory. Sessions are created on short-lived threads;
 * the C library gives each one a heap, and keeps the freed memory of all of them.
 */
export function keepHeapSmall(): void {
  limitHeaps(OWN_PAGES_BYTES);
}

let collect: ((how: object) => void) | undefined;
/** Makes a compiled program's garbage collector return freed pages; that of a script does so by default. */
const GIVING_BACK = { type: "major", execution: "sync", flavor: "last-resort" };
/** JavaScript's heap after the last collection here. */
let liveBytes = 0;
/**
 * Heap growth after which a training collects garbage, which takes about as long as planning a step. The
 * young heap is part of it; with half as much, banking77 would collect at every other step for 7 MB
 * less.
 */
export const GARBAGE_BYTES = 16 * 2 ** 20;

/**
 * Collects JavaScript's garbage, which takes tens of milliseconds, if there may be much of it. Called
 * before native memory grows, because the engine sees only its own heap and would wait.
 *
 * @param atLeast growth of the heap, in bytes, from which on it collects
 */
export function collectGarbage(atLeast = GARBAGE_BYTES): void {
  if (Deno.memoryUsage().heapTotal < liveBytes + atLeast) return;
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    // A compiled program has the function from its start, or cannot get it.
    collect = (globalThis as { gc?: typeof collect }).gc ??
      runInNewContext("typeof gc === 'function' ? gc : () => {}") as typeof collect;
  }
  collect!(GIVING_BACK);
  liveBytes = Deno.memoryUsage().heapTotal;
}

/** Resident memory of a process and its descendants, in bytes. */
export interface TreeMemory {
  /** The sum. Shared pages are counted for each process. */
  readonly rssBytes: number;
  /** The largest peak of a single process. */
  readonly peakRssBytes: number;
}

/** Reads the memory of `root` and its descendants from all processes. */
export function treeMemory(root = Deno.pid): TreeMemory {
  const children = new Map<number, number[]>();
  for (const name of listKernelFolder("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // PID (COMMAND) STATE PPID …, where the command may contain anything.
    const stat = readKernelFile(`/proc/${name}/stat`);
    if (stat === undefined) continue;
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const under = (pid: number): TreeMemory => {
    const own = processMemory(pid) ?? { rssBytes: 0, peakRssBytes: 0 };
    return (children.get(pid) ?? []).map(under).reduce((all, child) => ({
      rssBytes: all.rssBytes + child.rssBytes,
      peakRssBytes: Math.max(all.peakRssBytes, child.peakRssBytes),
    }), own);
  };
  return under(root);
}

/** Watches a process tree's memory; dispose of it to stop watching. */
export interface TreeWatch extends Disposable {
  /** Largest sum seen so far, and at least the peak of each single process, which the kernel records. */
  readonly peakBytes: number;
}

/**
 * Reads {@linkcode treeMemory} every `intervalMs` milliseconds. Each reading takes processor time that
 * the watched processes may need.
 */
export function watchTree(root = Deno.pid, intervalMs = 250): TreeWatch {
  let peakBytes = 0;
  const look = () => {
    const { rssBytes, peakRssBytes } = treeMemory(root);
    return peakBytes = Math.max(peakBytes, rssBytes, peakRssBytes);
  };
  look();
  const timer = setInterval(look, intervalMs);
  return {
    get peakBytes() {
      return look();
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
