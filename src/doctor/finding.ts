/** A finding about the machine. */

/** Severity: a `problem` prevents the main job. */
export type Level = "ok" | "hint" | "warning" | "problem";

export interface Finding {
  /** Stable, for scripts: `memory.free`, `ort.provider.CUDAExecutionProvider`. */
  readonly id: string;
  readonly level: Level;
  /** Description, in a line without a full stop. */
  readonly what: string;
  /** Remedy, if there is one. */
  readonly advice?: string;
}

/** Whether the main job, to train and merge on this machine, can run. */
export function canRun(findings: readonly Finding[]): boolean {
  return findings.every(({ level }) => level !== "problem");
}
