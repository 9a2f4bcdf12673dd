/** Findings on memory, disk, and the folders graft writes to. */
import type { CgroupMemory } from "../system/memory.ts";
import type { Finding } from "./finding.ts";

/** Memory of training the embedded model, rounded up: with less nothing can be trained. */
const LEAST_MEMORY = 400e6;
/** Memory for training a language model of some hundred million parameters. */
const ROOMY_MEMORY = 1e9;
/** Disk for an adapter with its checkpoints, a merged small model, and ONNX Runtime's library. */
const LEAST_DISK = 200e6;

/** Formats bytes; the command line has its own formatter. */
const megabytes = (bytes: number) => `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;

export interface MemoryState {
  /** Memory that this process can still allocate, by machine and control groups. */
  readonly freeBytes?: number;
  readonly freeSwapBytes: number;
  readonly cgroup?: CgroupMemory;
}

export function memoryFindings(
  { freeBytes, freeSwapBytes, cgroup }: MemoryState,
): readonly Finding[] {
  const found: Finding[] = [];
  if (freeBytes === undefined) {
    found.push({
      id: "memory.free",
      level: "warning",
      what: "The system does not say how much memory is free",
      advice: "bound it by `--memory-budget`",
    });
  } else {
    const what = `${megabytes(freeBytes)} of memory free, ${megabytes(freeSwapBytes)} of swap`;
    if (freeBytes < LEAST_MEMORY) {
      found.push({
        id: "memory.free",
        level: "problem",
        what,
        advice: `training takes ${megabytes(LEAST_MEMORY)} and more: end other programs`,
      });
    } else if (freeBytes < ROOMY_MEMORY) {
      found.push({
        id: "memory.free",
        level: "hint",
        what,
        advice: "`graft inspect MODEL` shows how much memory training a model takes",
      });
    } else found.push({ id: "memory.free", level: "ok", what });
  }
  if (cgroup !== undefined) {
    found.push({
      id: "memory.cgroup",
      level: "ok",
      what: `A control group allows ${megabytes(cgroup.limitBytes)}, of which ` +
        `${megabytes(cgroup.usedBytes)} are used`,
    });
  }
  return found;
}

/** A folder that graft writes to. */
export interface FolderState {
  /** Name in ids: `here`, `cache`, `temporary`. */
  readonly name: string;
  readonly path: string;
  readonly writable: boolean;
  readonly freeBytes?: number;
  /** Bytes in it, if it is graft's own. */
  readonly usedBytes?: number;
  /** Feature that needs it; `undefined` if graft works without it. */
  readonly neededFor?: string;
}

export function folderFindings(folder: FolderState): readonly Finding[] {
  const { name, path, writable, freeBytes, usedBytes, neededFor } = folder;
  const id = `folder.${name}`;
  if (!writable) {
    return [{
      id,
      level: neededFor === undefined ? "warning" : "problem",
      what: `${path} cannot be written to`,
      advice: name === "cache"
        ? "name another folder by GRAFT_CACHE_DIR: measurements and unpacking are repeated each time"
        : `${neededFor ?? "some work"} needs it: work in another folder, or as another user`,
    }];
  }
  const used = usedBytes === undefined ? "" : `${megabytes(usedBytes)} used, `;
  const what = `${path}: ${used}${
    freeBytes === undefined ? "free space unknown" : `${megabytes(freeBytes)} free`
  }`;
  if (freeBytes !== undefined && freeBytes < LEAST_DISK) {
    return [{
      id,
      level: neededFor === undefined ? "warning" : "problem",
      what,
      advice: `make room: ${megabytes(LEAST_DISK)} are the least`,
    }];
  }
  return [{ id, level: "ok", what }];
}
