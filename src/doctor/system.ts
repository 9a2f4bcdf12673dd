/** Findings on systemd, GPU devices, and environment variables of graft. */
import { gpuNodes } from "../system/gpu_nodes.ts";
import type { Finding } from "./finding.ts";

/** Checks of files. */
export interface Files {
  exists(path: string): boolean;
  /** Whether this user may read and write it. */
  usable(path: string): boolean;
}

export function systemdFindings(files: Files): readonly Finding[] {
  if (!files.exists("/run/systemd/system")) {
    return [{
      id: "systemd",
      level: "hint",
      what: "systemd does not run here",
      advice: "`graft service` needs it; train and merge do not",
    }];
  }
  const installed = files.exists("/etc/systemd/system/graft.service");
  return [{
    id: "systemd",
    level: "ok",
    what: `systemd runs, graft.service is ${installed ? "installed" : "not installed"}`,
  }];
}

export function gpuFindings(files: Files): readonly Finding[] {
  const nodes = gpuNodes(files.exists);
  if (nodes.length === 0) {
    return [{ id: "gpu", level: "ok", what: "No NVIDIA GPU: training runs on the processor" }];
  }
  const denied = nodes.filter((path) => !files.usable(path));
  return denied.length === 0
    ? [{ id: "gpu", level: "ok", what: `NVIDIA's driver is there: ${nodes.join(", ")}` }]
    : [{
      id: "gpu",
      level: "warning",
      what: `This user may not open ${denied.join(", ")}`,
      advice: "add the user to the groups `video` and `render`, and log in again",
    }];
}

/** Environment variables that change graft's behaviour; no secrets among them. */
const VARIABLES = [
  ..."GRAFT_ORT_LIB GRAFT_CACHE_DIR HF_HOME HF_HUB_CACHE HF_ENDPOINT HF_HUB_OFFLINE".split(" "),
  ..."LD_LIBRARY_PATH TMPDIR".split(" "),
];

export function variableFindings(
  variable: (name: string) => string | undefined,
): readonly Finding[] {
  return VARIABLES.flatMap((name) => {
    const value = variable(name);
    return value
      ? [{ id: `variable.${name}`, level: "ok" as const, what: `${name}=${value}` }]
      : [];
  });
}
