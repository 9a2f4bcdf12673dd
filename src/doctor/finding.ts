/** What a look at the machine found. */

/** How much it matters: `problem` keeps the main job from running. */
export type Level = "ok" | "hint" | "warning" | "problem";

export interface Finding {
  /** Stable, for scripts: `memory.free`, `ort.provider.CUDAExecutionProvider`. */
  readonly id: string;
  readonly level: Level;
  /** What is, in a line without a full stop. */
  readonly what: string;
  /** What to do about it, where something can be done. */
  readonly advice?: string;
}

/** Whether the main job, to train and merge on this machine, can run. */
export function canRun(findings: readonly Finding[]): boolean {
  return findings.every(({ level }) => level !== "problem");
}
