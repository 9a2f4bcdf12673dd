/** Examines everything that training, merging and serving on this machine depend on. */
import { bytesUnder, isWritable, nearestFolder } from "../system/folders.ts";
import { cacheDirectory } from "../system/cache_directory.ts";
import { cgroupMemory, freeBytes, freeSwapBytes } from "../system/memory.ts";
import { device } from "../system/device.ts";
import { freeDiskBytes } from "../system/disk.ts";
import { kernelAccess, readKernelFile } from "../system/kernel_files.ts";
import { batteries, temperatures } from "../system/sensors.ts";
import { processor } from "../system/processor.ts";
import type { Finding } from "./finding.ts";
import { deviceFindings, instructionSets, processorFindings, sensorFindings } from "./hardware.ts";
import { folderFindings, type FolderState, memoryFindings } from "./resources.ts";
import { runtimeFindings } from "./runtime.ts";
import { gpuNodes } from "../system/gpu_nodes.ts";
import { findGpuLibrary } from "../runtime/gpu_library.ts";
import { gpuFindings, systemdFindings, variableFindings } from "./system.ts";

/** @param ortLib the library that the user names, if any */
export async function examine(ortLib: string | undefined): Promise<readonly Finding[]> {
  const files = {
    exists: (path: string) => kernelAccess(path, "exists"),
    usable: (path: string) => kernelAccess(path, "usable"),
  };
  const hasGpu = gpuNodes(files.exists).length > 0;
  // The library that other verbs would use.
  const library = ortLib || (hasGpu ? findGpuLibrary() : undefined);
  return [
    ...deviceFindings(device()),
    ...processorFindings(processor(), instructionSets(readKernelFile("/proc/cpuinfo") ?? "")),
    ...memoryFindings({
      freeBytes: freeBytes(),
      freeSwapBytes: freeSwapBytes(),
      cgroup: cgroupMemory(),
    }),
    ...folders().flatMap(folderFindings),
    ...sensorFindings(temperatures(), batteries()),
    ...gpuFindings(files),
    ...await runtimeFindings(library, hasGpu),
    ...systemdFindings(files),
    ...variableFindings((name) => Deno.env.get(name)),
  ];
}

function folders(): readonly FolderState[] {
  const state = (name: string, path: string): FolderState => ({
    name,
    path,
    writable: isWritable(path),
    freeBytes: freeDiskBytes(nearestFolder(path) ?? path),
  });
  const cache = cacheDirectory();
  return [
    { ...state("here", Deno.cwd()), neededFor: "training, whose adapter goes here" },
    ...(cache === undefined ? [] : [{ ...state("cache", cache), usedBytes: bytesUnder(cache) }]),
    state("temporary", Deno.env.get("TMPDIR") || "/tmp"),
  ];
}
