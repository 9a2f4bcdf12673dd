/** How much memory there is, and how much this process and its children take. Linux. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { limitHeaps, trimHeap } from "../../ffi/libc.ts";
import { listKernelFolder, readKernelFile } from "./kernel_files.ts";

/** A process's resident memory. */
export interface ProcessMemory {
  readonly rssBytes: number;
  /** Largest resident size so far. */
  readonly peakRssBytes: number;
  /** The part that is nobody else's: heaps and stacks. */
  readonly anonymousBytes: number;
  /** The part that lies over files: libraries and mapped weights. */
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

/** Memory of this process, or of process `pid`; `undefined` where it has ended. */
export function processMemory(): ProcessMemory;
export function processMemory(pid: number): ProcessMemory | undefined;
export function processMemory(pid?: number): ProcessMemory | undefined {
  const text = readKernelFile(`/proc/${pid ?? "self"}/status`);
  return text === undefined ? undefined : parseProcessStatus(text);
}

/** Bytes that programs can still take without swapping, by the kernel's estimate. */
function availableBytes(): number | undefined {
  return field(readKernelFile("/proc/meminfo") ?? "", "MemAvailable");
}

/** A control group around this process that may bound its memory. */
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
    // Inside a container the path may name a group outside of it: the root is asked in any case.
    // One above the namespace's own is written with "/.." before it, though it is mounted from the root.
    const inside = path.replace(/^(\/\.\.)+/, "").replace(/\/$/, "");
    for (let group = inside;; group = group.slice(0, group.lastIndexOf("/"))) {
      yield { isV2, folder: `${root}${group}` };
      if (group === "") break;
    }
  }
}

/** A control group's limit and what its processes take of it, but for files' pages that it can drop. */
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
  // Pages of files that nobody has looked at lately go before anybody is refused any.
  const stat = readText(`${folder}/memory.stat`) ?? "";
  const droppable = Number(new RegExp(`^${cached} (\\d+)$`, "m").exec(stat)?.[1] ?? 0);
  const counted = Number(readText(`${folder}/${usedFile}`) ?? 0);
  return { limitBytes, usedBytes: Math.max(0, counted - droppable) };
}

/** The first version of control groups writes a number near 2^63 where there is no limit. */
const UNLIMITED = 2 ** 60;

/**
 * The tightest memory limit of the control groups around this process; `undefined` for none.
 *
 * @param readText reads a file, `undefined` where it is missing; for tests
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
 * Bytes that this process can still take: the smaller of what the machine and the control group
 * have left. `undefined` where neither says.
 */
export function freeBytes(): number | undefined {
  const group = cgroupMemory();
  const available = availableBytes();
  if (group === undefined) return available;
  return Math.min(headroom(group), available ?? Infinity);
}

/**
 * Bytes of swap that this process can still take; 0 for none. Control groups of the second version
 * bound it by itself, those of the first together with memory.
 *
 * @param readText reads a file, `undefined` where it is missing; for tests
 */
export function freeSwapBytes(readText = readKernelFile): number {
  let least = field(readText("/proc/meminfo") ?? "", "SwapFree") ?? 0;
  for (const group of memoryGroups(readText)) {
    least = Math.min(least, groupSwap(group, readText) ?? Infinity);
  }
  return least;
}

/** Bytes of swap that a group has left; `undefined` where it does not bound it. */
function groupSwap(
  { isV2, folder }: MemoryGroup,
  readText: typeof readKernelFile,
): number | undefined {
  const bytes = (file: string) => Number(readText(`${folder}/${file}`) ?? 0);
  // "max" for none is no number.
  const limit = Number(readText(`${folder}/memory.${isV2 ? "swap.max" : "memsw.limit_in_bytes"}`));
  if (!(limit >= 0 && limit < UNLIMITED)) return undefined;
  const left = isV2
    ? limit - bytes("memory.swap.current")
    // The first version counts memory and swap together.
    : limit - bytes("memory.limit_in_bytes") -
      (bytes("memory.memsw.usage_in_bytes") - bytes("memory.usage_in_bytes"));
  return Math.max(0, left);
}

/**
 * Gives back what native code has freed; the C library would keep it for later. Worth it after
 * something large that does not come again.
 */
export function giveBackFreed(): void {
  trimHeap();
}

/** What a block of native memory must have to be given back by itself when it is freed: glibc's first choice. */
const OWN_PAGES_BYTES = 128 * 1024;

/**
 * Has native code share one heap and give back what it frees. Sessions are made on threads that come
 * and go; the C library gives each a heap, and keeps what was freed in all of them.
 */
export function keepHeapSmall(): void {
  limitHeaps(OWN_PAGES_BYTES);
}

let collect: ((how: object) => void) | undefined;
/** Has a compiled program's collector give freed pages back; the one that a script gets does so unasked. */
const GIVING_BACK = { type: "major", execution: "sync", flavor: "last-resort" };
/** JavaScript's heap after it was last collected here. */
let liveBytes = 0;
/**
 * Growth that collecting is worth in a training: it takes about as long as planning a step. The young
 * heap is part of it; with half as much, banking77 would collect at every other step for 7 MB less.
 */
export const GARBAGE_BYTES = 16 * 2 ** 20;

/**
 * Collects JavaScript's garbage, tens of milliseconds, where there may be much of it. Before native
 * memory grows: the engine sees its own heap alone and would wait.
 *
 * @param atLeast growth of the heap, in bytes, that makes it worth while
 */
export function collectGarbage(atLeast = GARBAGE_BYTES): void {
  if (Deno.memoryUsage().heapTotal < liveBytes + atLeast) return;
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    // A compiled program has it from its start, or cannot get it.
    collect = (globalThis as { gc?: typeof collect }).gc ??
      runInNewContext("typeof gc === 'function' ? gc : () => {}") as typeof collect;
  }
  collect!(GIVING_BACK);
  liveBytes = Deno.memoryUsage().heapTotal;
}

/** Resident memory of a process and its descendants, in bytes. */
export interface TreeMemory {
  /** The sum. Pages that several of them share are counted for each. */
  readonly rssBytes: number;
  /** The largest that one of them has had so far. */
  readonly peakRssBytes: number;
}

/** Looks at all processes there are, for those under `root`. */
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
  /** Largest sum seen so far, and no less than one process has had, which the kernel keeps. */
  readonly peakBytes: number;
}

/**
 * Looks at {@linkcode treeMemory} every `intervalMs` milliseconds. A look takes time of a core, which
 * what is watched may have need of.
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
