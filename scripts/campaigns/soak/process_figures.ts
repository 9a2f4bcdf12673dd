/** What a process holds, from `/proc`. */

/** A look at a process. */
export interface Figures {
  /** Memory of its own, of which the kernel cannot drop pages, in MB. */
  readonly ownMb: number;
  /** Open files and sockets. */
  readonly files: number;
  readonly threads: number;
  /** Stretches of its address space. */
  readonly maps: number;
}

/** @throws where the process has ended */
export function figuresOf(pid: number): Figures {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)![1]);
  return {
    ownMb: field("RssAnon") / 1000,
    files: [...Deno.readDirSync(`/proc/${pid}/fd`)].length,
    threads: field("Threads"),
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
  const median = (key: keyof Figures) => {
    const values = looks.map((look) => look[key]).sort((a, b) => a - b);
    return Math.round(10 * values[values.length >> 1]) / 10;
  };
  return {
    ownMb: median("ownMb"),
    files: median("files"),
    threads: median("threads"),
    maps: median("maps"),
  };
}
