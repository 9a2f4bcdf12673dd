/** What a process holds, from `/proc`. */
import { median } from "../../../src/statistics.ts";
import { processMemory } from "../../../src/system/memory.ts";

/** A look at a process. */
export interface Figures {
  /** Memory of its own, of which the kernel cannot drop pages, in MB. */
  readonly ownMb: number;
  /** Open files and sockets. */
  readonly files: number;
  readonly threads: number;
  /** Ranges of its address space. */
  readonly maps: number;
}

/** Between two looks. */
const LOOK_MS = 1000;

/**
 * Looks at a process from time to time.
 *
 * @param looks gets what was found
 * @throws where the process has ended
 */
export async function lookAt(pid: number, goesOn: () => boolean, looks: Figures[]): Promise<void> {
  while (goesOn()) {
    looks.push(figuresOf(pid));
    await sleep(LOOK_MS);
  }
}

export const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What a process holds now. */
export function figuresOf(pid: number): Figures {
  const entries = (name: string) => [...Deno.readDirSync(`/proc/${pid}/${name}`)].length;
  return {
    ownMb: processMemory(pid)!.anonymousBytes / 1e6,
    files: entries("fd"),
    threads: entries("task"),
    maps: Deno.readTextFileSync(`/proc/${pid}/maps`).split("\n").length,
  };
}

/** How what a process holds changes over a run, once it has warmed up. */
export interface Growth {
  readonly looks: number;
  /** Medians of the second and of the last quarter of the looks. */
  readonly before: Figures;
  readonly after: Figures;
  /** What grew by more than it may; empty where all is well. */
  readonly faults: readonly string[];
}

/** Most that each may grow, as a share and beyond that by a number: what a garbage collector leaves varies. */
const LIMITS: Readonly<Record<keyof Figures, readonly [share: number, number: number]>> = {
  ownMb: [0.05, 4],
  files: [0, 4],
  threads: [0, 1],
  maps: [0.05, 20],
};

export function growthOf(looks: readonly Figures[]): Growth {
  const quarter = Math.floor(looks.length / 4);
  const before = mediansOf(looks.slice(quarter, 2 * quarter));
  const after = mediansOf(looks.slice(-quarter));
  const faults = (Object.keys(LIMITS) as (keyof Figures)[]).flatMap((key) => {
    const [share, number] = LIMITS[key];
    return after[key] > before[key] * (1 + share) + number
      ? [`${key} grew from ${before[key]} to ${after[key]}`]
      : [];
  });
  return { looks: looks.length, before, after, faults };
}

function mediansOf(looks: readonly Figures[]): Figures {
  const middle = (key: keyof Figures) =>
    Math.round(10 * median(looks.map((look) => look[key]))) / 10;
  return {
    ownMb: middle("ownMb"),
    files: middle("files"),
    threads: middle("threads"),
    maps: middle("maps"),
  };
}
